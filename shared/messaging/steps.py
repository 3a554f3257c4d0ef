"""Requests to RabbitMQ, one after the other on a channel of their own, and what it refuses.

A refusal closes a channel; on its own it harms nothing else. Where the connection ends, nothing is
called: it says so itself. Runs on the I/O thread.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.topology import Exchange, Queue

logger = logging.getLogger(__name__)

REFUSED = 403  # ACCESS_REFUSED
PRECONDITION_FAILED = 406

Step = Callable[..., object]
"""One request on a channel; takes `callback=`."""

Look = Callable[[Channel], Step]
"""A passive declaration; a binding cannot be asked for."""


def in_turn(
    connection: pika.SelectConnection,
    steps_on: Callable[[Channel], Iterator[Step]],
    ended: Callable[[ChannelClosedByBroker | None], None],
) -> None:
    """One step after the other on a channel of their own; `ended` with what the broker refused."""

    def opened(channel: Channel) -> None:
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
            ended(reason if isinstance(reason, ChannelClosedByBroker) else None)

    connection.channel(on_open_callback=opened)


def declare_queue(channel: Channel, queue: Queue) -> Step:
    """Declares a durable queue; a queue that is otherwise than this is a refusal."""
    return partial(channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments))


def queue_look(queue: Queue) -> Look:
    """Whether there is a queue of this name."""
    return lambda channel: partial(channel.queue_declare, queue.name, passive=True)


def exchange_look(exchange: Exchange) -> Look:
    """Whether there is an exchange of this name."""
    return lambda channel: partial(channel.exchange_declare, exchange.name, passive=True)


def one_look(look: Look, channel: Channel) -> Iterator[Step]:
    """This look and no other, for `in_turn`."""
    yield look(channel)


def look_for(
    connection: pika.SelectConnection,
    looks: Iterator[Look],
    then: Callable[[], None],
    fail: Callable[[str], None],
) -> None:
    """Whether all of it is there. Where this user may not know, which 4.3 answers to somebody who
    has no right at all on it, it is taken to be; only older rights than this release's say so."""

    def ended(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then()
        elif refusal.reply_code == REFUSED:
            logger.info("cannot be looked for", extra={"problem": refusal.reply_text})
            look_for(connection, looks, then, fail)
        else:
            fail(needs_prepare(refusal))

    in_turn(connection, lambda channel: (look(channel) for look in looks), ended)


def needs_prepare(refusal: ChannelClosedByBroker) -> str:
    """What is missing, and who can declare it."""
    return f"{refusal.reply_text}; this user may not declare it: run `hitl prepare`"
