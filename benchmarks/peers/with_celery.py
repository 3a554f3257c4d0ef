"""How fast is Celery? One worker process (solo), acks after the task, publishes with confirms."""

from celery import Celery
from kombu import Exchange, Queue

from benchmarks.peers.job import AMQP_URL, EXCHANGE, PREFETCH, QUEUE, decide

app = Celery("router", broker=AMQP_URL)
app.conf.update(
    task_queues=[Queue(QUEUE, no_declare=True, queue_arguments={"x-queue-type": "quorum"})],
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=PREFETCH,
    worker_pool="solo",
    worker_hijack_root_logger=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)
EVENTS = Exchange(EXCHANGE, no_declare=True)


@app.task(name="route")
def route(body: str) -> None:
    decided = decide(body.encode())
    with app.amqp.producer_pool.acquire(block=True) as producer:
        producer.publish(  # returns when the broker has confirmed it
            decided.body,
            exchange=EVENTS,
            routing_key=decided.routing_key,
            message_id=decided.message_id,
            content_type="application/json",
            content_encoding="binary",
            delivery_mode="persistent",
            mandatory=True,
        )


if __name__ == "__main__":
    app.worker_main(
        ["worker", "--pool=solo", "--without-gossip", "--without-mingle", "--loglevel=WARNING"]
    )
