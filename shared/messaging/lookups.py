"""Looks up queues: how many messages are ready, and whether a stream is there. Runs on the I/O
thread of whoever asks.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.messaging.declare import declare_stream
from shared.messaging.steps import in_turn, one_look, queue_look
from shared.topology import Queue


def find_stream(connection: pika.SelectConnection, stream: Queue, then: Callable[[], None]) -> None:
    """Declares a stream where it is missing, if we may; then `then`, also where we may not."""

    def looked(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then()
        else:
            in_turn(connection, partial(declare_stream, stream), lambda _refusal: then())

    in_turn(connection, partial(one_look, queue_look(stream)), looked)


def count_ready(
    connection: pika.SelectConnection,
    queues: Iterable[str],
    then: Callable[[Mapping[str, int]], None],
) -> None:
    """Then `then`, with the ready messages of each queue that is there and may be looked at."""
    names, found = iter(queues), dict[str, int]()

    def count(channel: Channel, name: str, callback: Callable[[], None]) -> None:
        def told(answer: Any) -> None:
            found[name] = answer.method.message_count
            callback()

        channel.queue_declare(name, passive=True, callback=told)

    def ended(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then(found)
        else:  # no such queue: its channel is gone, the connection is not
            ask()

    def ask() -> None:
        in_turn(
            connection, lambda channel: (partial(count, channel, each) for each in names), ended
        )

    ask()
