"""How fast is FastStream? As in its documentation, with many messages in flight at once."""

import asyncio
import logging

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from benchmarks.peers.job import AMQP_URL, EXCHANGE, PREFETCH, QUEUE, decide

broker = RabbitBroker(
    AMQP_URL, default_channel=Channel(prefetch_count=PREFETCH), log_level=logging.WARNING
)
exchange = RabbitExchange(EXCHANGE, declare=False)


@broker.subscriber(RabbitQueue(QUEUE, declare=False), ack_policy=AckPolicy.NACK_ON_ERROR)
async def on_message(message: RabbitMessage) -> None:
    decided = decide(message.body)
    await broker.publish(  # returns when the broker has confirmed it
        decided.body,
        exchange=exchange,
        routing_key=decided.routing_key,
        message_id=decided.message_id,
        content_type="application/json",
        persist=True,
        mandatory=True,
    )


if __name__ == "__main__":
    asyncio.run(FastStream(broker).run(log_level=logging.WARNING))
