"""How fast is the first thing that one writes? pika's BlockingConnection, one message at a time."""

import pika

from benchmarks.peers.job import AMQP_URL, EXCHANGE, QUEUE, decide


def main() -> None:
    connection = pika.BlockingConnection(pika.URLParameters(AMQP_URL))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=1)

    def on_message(_channel, method, _properties, body):  # type: ignore[no-untyped-def]
        decided = decide(body)
        channel.basic_publish(  # returns when the broker has confirmed it
            EXCHANGE,
            decided.routing_key,
            decided.body,
            pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent.value,
                message_id=decided.message_id,
            ),
            mandatory=True,
        )
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(QUEUE, on_message)
    channel.start_consuming()


if __name__ == "__main__":
    main()
