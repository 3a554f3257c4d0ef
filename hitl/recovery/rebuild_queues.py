"""Copies what the queues still hold of the record back into the log.

After the database was lost: a copy of each message that waits for inference, the router, people or
downstream goes to the log's queue; the message itself goes to the end of its own. Both are
confirmed before it is acked: a crash between leaves two of it, which is harmless, and never none.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from hitl.dead_letters.queues import MAX_UNACKED, DeadLetter, Pass, Verdict, depths
from hitl.support.connection import connected
from shared.errors import Overloaded
from shared.messages import Delivery, Outgoing
from shared.messaging.connection import Broker
from shared.messaging.retry import copy_to, origin_headers
from shared.service.settings import Settings
from shared.topology import (
    LOG_QUEUE,
    ROUTER_QUEUE,
    accepted_queue,
    inference_queue,
    review_queue,
)
from shared.workflows.files import workflow_paths

CONFIRM_SECONDS = 60.0
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def copy_queues(amqp_url: str, progress: Progress) -> Iterator[tuple[str, int]]:
    """Each queue that held something, and how many messages of it were copied.

    Raises:
        Overloaded: no connection, or the log's queue takes no more.
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
    """Turns the queue round once; how many messages went by."""
    copies: list[Outgoing] = []

    def judge(letter: DeadLetter) -> Verdict:
        copies.append(log_copy(letter.delivery))
        return "go back"

    def flush() -> None:
        broker.publish(copies, CONFIRM_SECONDS)
        advance(len(copies))
        copies.clear()

    copied = 0
    while copied < waiting:
        turn = Pass(queue, judge, headers=_headers, before_acks=flush)
        turn.run(amqp_url)
        if turn.refused:
            raise Overloaded(
                f"{queue} takes back no more: {turn.refused} messages stay as they are"
            )
        copied += turn.gone
        if turn.looked < MAX_UNACKED:
            break  # all that lay there, or a consumer took the rest
    return copied


def log_copy(delivery: Delivery) -> Outgoing:
    """A copy of a waiting message for the log's queue."""
    return copy_to("", LOG_QUEUE, delivery, _headers(delivery))


def _headers(delivery: Delivery) -> dict[str, object]:
    """Its own, and where it was first sent: it comes through the default exchange now."""
    return {**delivery.headers, **origin_headers(delivery)}
