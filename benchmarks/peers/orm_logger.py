"""How fast is the logger of a tutorial? One message at a time: one ORM row, one commit, one ack.

It writes the event only; the real logger also keeps the item's row up to date.
"""

import os

import pika
from sqlalchemy.orm import Session

from shared.events.envelope import decode
from shared.events.registry import PUBLISHED
from shared.messages import Delivery
from shared.storage.database import connect
from shared.storage.tables import EventRow
from shared.topology import LOG_QUEUE


def main() -> None:
    engine = connect(os.environ["DATABASE_URL"], pool_size=1)
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    with Session(engine) as session:

        def on_message(_channel, method, properties, body):  # type: ignore[no-untyped-def]
            delivery = Delivery(
                LOG_QUEUE, method.exchange, method.routing_key, body, properties.headers, 0
            )
            event = decode(delivery, *PUBLISHED)
            session.add(
                EventRow(
                    event_id=event.event_id,
                    type=event.type,
                    version=event.version,
                    workflow=event.workflow,
                    item_id=event.item_id,
                    occurred_at=event.occurred_at,
                    source="benchmark",
                    data=event.model_dump(mode="json", exclude={"item"}),
                )
            )
            session.commit()
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume(LOG_QUEUE, on_message)
        channel.start_consuming()


if __name__ == "__main__":
    main()
