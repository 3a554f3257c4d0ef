"""How fast is aio-pika? As in its documentation, with many messages in flight at once."""

import asyncio

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.peers.job import AMQP_URL, EXCHANGE, PREFETCH, QUEUE, decide


async def main() -> None:
    connection = await aio_pika.connect_robust(AMQP_URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(QUEUE)
        exchange = await channel.get_exchange(EXCHANGE)

        async def on_message(message: AbstractIncomingMessage) -> None:
            async with message.process():  # acks at the end
                decided = decide(message.body)
                await exchange.publish(
                    aio_pika.Message(
                        decided.body,
                        content_type="application/json",
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                        message_id=decided.message_id,
                    ),
                    decided.routing_key,
                    mandatory=True,
                )

        await queue.consume(on_message)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main())
