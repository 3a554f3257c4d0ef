"""How does the topology get onto the broker, or who says that it is missing?

Whoever may configure declares all of it on every connection, which changes nothing where it is
there. A user without that right (docs/security.md) is refused, and from then on only looks whether
`hitl prepare` has declared it. Runs on the broker's I/O thread.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.topology import QUEUES, Exchange, Queue, Topology

logger = logging.getLogger(__name__)

_REFUSED = 403  # ACCESS_REFUSED
Step = Callable[..., object]
"""One request on a channel; takes `callback=`."""


class Declarations:
    """A topology for one connection after the other; remembers whether it may be declared."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._may_declare = True

    def with_the_same_rights(self, topology: Topology) -> "Declarations":
        """Those of another topology; what this user may not do is not tried again."""
        other = Declarations(topology)
        other._may_declare = self._may_declare
        return other

    def begin(
        self,
        connection: pika.SelectConnection,
        then: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        """Then `then`; or `fail`, with the reason, where the broker refuses or lacks something."""

        def ended(refusal: ChannelClosedByBroker | None) -> None:
            if refusal is None:
                self._streams(connection, then)
            elif refusal.reply_code == _REFUSED and self._may_declare:
                self._may_declare = False
                self.begin(connection, then, fail)
            elif self._may_declare:
                fail(f"channel closed by the broker: {refusal}")
            else:
                fail(f"{refusal.reply_text}; this user may not declare it: run `hitl prepare`")

        steps = _declare if self._may_declare else _look
        _in_turn(connection, partial(steps, self._topology), ended)

    def _streams(self, connection: pika.SelectConnection, then: Callable[[], None]) -> None:
        """Each on a channel of its own, which a stream that does not recover may end."""
        streams = iter(self._topology.streams)

        def next_stream(refusal: ChannelClosedByBroker | None = None) -> None:
            if refusal is not None:
                logger.warning("a stream is not available", extra={"problem": str(refusal)})
            stream = next(streams, None)
            if stream is None:
                then()
            elif self._may_declare:
                _in_turn(connection, partial(_declare_stream, stream), next_stream)
            else:
                _in_turn(connection, partial(_look_for, [stream], ()), next_stream)

        next_stream()


def find_stream(connection: pika.SelectConnection, stream: Queue, then: Callable[[], None]) -> None:
    """Declares a stream where it is missing, if we may; then `then`, also where we may not."""

    def looked(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then()
        else:
            _in_turn(connection, partial(_declare_stream, stream), lambda _refusal: then())

    _in_turn(connection, partial(_look_for, [stream], ()), looked)


def _in_turn(
    connection: pika.SelectConnection,
    steps_on: Callable[[Channel], Iterator[Step]],
    ended: Callable[[ChannelClosedByBroker | None], None],
) -> None:
    """One step after the other on a channel of their own; `ended` with what the broker refused.
    Where the connection ends, nothing is called: it says so itself."""

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


def _declare(topology: Topology, channel: Channel) -> Iterator[Step]:
    """The queues first and each exchange directly before its bindings, the alternate exchange first
    of all: an exchange without its bindings would confirm messages and drop them."""
    for queue in topology.queues:
        yield _declared_queue(channel, queue)
    streams = {stream.name for stream in topology.streams}
    for exchange in topology.exchanges:
        yield partial(
            channel.exchange_declare,
            exchange.name,
            exchange.kind,
            durable=True,
            arguments=dict(exchange.arguments),
        )
        for binding in topology.bindings:
            if binding.exchange == exchange.name and binding.queue not in streams:
                yield partial(
                    channel.queue_bind,
                    binding.queue,
                    binding.exchange,
                    routing_key=binding.routing_key,
                )


def _declare_stream(stream: Queue, channel: Channel) -> Iterator[Step]:
    yield _declared_queue(channel, stream)
    yield partial(channel.queue_bind, stream.name, QUEUES, routing_key=stream.name)


def _declared_queue(channel: Channel, queue: Queue) -> Step:
    return partial(channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments))


def _look(topology: Topology, channel: Channel) -> Iterator[Step]:
    return _look_for(topology.queues, topology.exchanges, channel)


def _look_for(
    queues: Iterable[Queue], exchanges: Sequence[Exchange], channel: Channel
) -> Iterator[Step]:
    """Passive declarations, for which no right is needed; a binding cannot be asked for."""
    for queue in queues:
        yield partial(channel.queue_declare, queue.name, passive=True)
    for exchange in exchanges:
        yield partial(channel.exchange_declare, exchange.name, passive=True)
