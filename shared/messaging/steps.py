"""Requests to RabbitMQ, one after the other on a channel of their own, and what it refuses.

A refusal closes a channel; on its own it harms nothing else. Where the connection ends, nothing
goes on: it says so itself. Runs on the I/O thread.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import HitlError, Overloaded
from shared.topology import Exchange, Queue

logger = logging.getLogger(__name__)

REFUSED = 403  # ACCESS_REFUSED
PRECONDITION_FAILED = 406

T = TypeVar("T")
Step = Callable[..., object]
"""One request on a channel; takes `callback=`."""
Steps = Callable[[Channel], Iterator[Step]]
Look = Callable[[Channel], Step]
"""A passive declaration; a binding cannot be asked for."""
Refusal: TypeAlias = ChannelClosedByBroker | None
Procedure = Generator[Steps, Refusal, T]
"""Yields the steps for one channel, and is sent what the broker refused of them, None for nothing;
then for the next one. Returns its outcome, or raises a `HitlError`."""


def carry_out(
    connection: pika.SelectConnection,
    procedure: Procedure[T],
    then: Callable[[T], None],
    fail: Callable[[HitlError], None],
) -> None:
    """Runs a procedure on channels of this connection; then `then`, or `fail` with its error."""

    def proceed(refusal: Refusal) -> None:
        try:
            steps = procedure.send(refusal)
        except StopIteration as end:
            outcome: T = end.value
        except HitlError as error:
            fail(error)
            return
        else:
            connection.channel(on_open_callback=partial(opened, steps))
            return
        then(outcome)

    def opened(steps_on: Steps, channel: Channel) -> None:
        channel.add_on_close_callback(closed)
        steps = steps_on(channel)

        def advance(_frame: object = None) -> None:
            step = next(steps, None)
            if step is None:
                channel.close()
            else:
                step(callback=advance)

        advance()

    def closed(channel: Channel, reason: BaseException) -> None:
        if channel.connection.is_open:
            proceed(reason if isinstance(reason, ChannelClosedByBroker) else None)

    proceed(None)


def declare_queue(channel: Channel, queue: Queue) -> Step:
    """Declares a durable queue; a queue that is otherwise than this is a refusal."""
    return partial(channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments))


def queue_look(queue: Queue) -> Look:
    """Whether there is a queue of this name."""
    return lambda channel: partial(channel.queue_declare, queue.name, passive=True)


def exchange_look(exchange: Exchange) -> Look:
    """Whether there is an exchange of this name."""
    return lambda channel: partial(channel.exchange_declare, exchange.name, passive=True)


def one_look(queue: Queue, channel: Channel) -> Iterator[Step]:
    """The steps that look for this queue and nothing else."""
    yield queue_look(queue)(channel)


def look_for(looks: Iterator[Look]) -> Procedure[None]:
    """Whether all of it is there. Where this user may not know, which 4.3 answers to somebody who
    has no right at all on it, it is taken to be; only older rights than this release's say so.

    Raises:
        Overloaded: something is missing.
    """
    while refusal := (yield lambda channel: (look(channel) for look in looks)):
        if refusal.reply_code != REFUSED:
            raise Overloaded(needs_prepare(refusal))
        logger.info("no right to check whether it exists", extra={"problem": refusal.reply_text})


def needs_prepare(refusal: ChannelClosedByBroker) -> str:
    """What is missing, and who can declare it."""
    return f"{refusal.reply_text}; this user may not declare it: run `hitl prepare`"
