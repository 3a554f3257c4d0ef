"""Looks up queues: how many messages are ready, and whether a stream is there."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from pika.channel import Channel

from shared.messaging.declare import declare_stream
from shared.messaging.steps import Procedure, Step, one_look
from shared.topology import Queue


def find_stream(stream: Queue) -> Procedure[None]:
    """Declares a stream where it is missing, if we may; where we may not, that is no error."""
    if (yield partial(one_look, stream)) is not None:
        yield partial(declare_stream, stream)


def count_ready(queues: Iterable[str]) -> Procedure[Mapping[str, int]]:
    """The ready messages of each queue that is there and may be looked at."""
    names, found = iter(queues), dict[str, int]()

    def count(channel: Channel, name: str, callback: Callable[[], None]) -> None:
        def counted(answer: Any) -> None:
            found[name] = answer.method.message_count
            callback()

        channel.queue_declare(name, passive=True, callback=counted)

    def counts(channel: Channel) -> Iterator[Step]:
        return (partial(count, channel, name) for name in names)

    while (yield counts) is not None:  # no such queue: its channel is gone, the connection is not
        pass
    return found
