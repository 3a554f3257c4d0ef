"""Copies the messages that wait in the queues to the log's queue, after the database was lost.

A message for inference, the router, people or downstream is copied, and itself moves to the end of
its queue. Both are confirmed before it is acked: a crash in between leaves two copies, which is
harmless, and never none.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from hitl.dead_letters.queues import MAX_UNACKED, Action, DeadLetter, QueuePass, depths
from hitl.support.connection import connected
from shared.errors import Overloaded
from shared.messages import Delivery, Outgoing
from shared.messaging.connection import Broker
from shared.messaging.retry import copy_to, origin_headers
from shared.service.settings import Settings
from shared.topology import LOG_QUEUE, ROUTER_QUEUE, accepted_queue, inference_queue, review_queue
from shared.workflows.files import workflow_paths

CONFIRM_SECONDS = 60.0
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def copy_queues(amqp_url: str, progress: Progress) -> Iterator[tuple[str, int]]:
    """Each queue that was not empty, and how many of its messages were copied.

    Raises:
        Overloaded: no connection, or the log's queue is full.
        ConfigurationError: the workflows cannot be read.
    """
    settings = Settings.from_environment(os.environ)
    queues = [ROUTER_QUEUE]
    for workflow in workflow_paths(settings.workflows_dir):
        queues += [inference_queue(workflow), review_queue(workflow), accepted_queue(workflow)]
    with connected(amqp_url, "rebuild") as broker:
        for queue, waiting in depths(amqp_url, queues).items():
            if waiting:
                with progress(queue, waiting) as advance:
                    copied = _copy(broker, amqp_url, queue, waiting, advance)
                yield queue, copied


def _copy(
    broker: Broker, amqp_url: str, queue: str, waiting: int, advance: Callable[[int], None]
) -> int:
    """Moves every message to the end of the queue once; returns how many."""
    copies: list[Outgoing] = []

    def choose(message: DeadLetter) -> Action:
        copies.append(log_copy(message.delivery))
        return "requeue"

    def flush() -> None:
        broker.publish(copies, CONFIRM_SECONDS)
        advance(len(copies))
        copies.clear()

    copied = 0
    while copied < waiting:
        one = QueuePass(queue, choose, headers=_headers, before_acks=flush)
        one.run(amqp_url)
        if one.refused:
            raise Overloaded(f"{queue} is full: {one.refused} of its messages were not copied")
        copied += one.gone
        if one.seen < MAX_UNACKED:
            break  # all messages were seen, or a consumer took the rest
    return copied


def log_copy(delivery: Delivery) -> Outgoing:
    """A copy of a waiting message for the log's queue."""
    return copy_to("", LOG_QUEUE, delivery, _headers(delivery))


def _headers(delivery: Delivery) -> dict[str, object]:
    """Its own headers, and where it was first published: the default exchange hides it."""
    return {**delivery.headers, **origin_headers(delivery)}
