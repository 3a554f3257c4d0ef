"""How does the topology get onto the broker, and in which order?

Declarations are idempotent and done on every connection. Runs on the broker's I/O thread.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.topology import Queue, Topology

logger = logging.getLogger(__name__)


def declare_streams(channel: Channel, streams: Sequence[Queue], then: Callable[[], None]) -> None:
    """On a channel of their own, which a stream that does not recover may end; then `then`."""

    def closed(channel: Channel, reason: BaseException) -> None:
        if isinstance(reason, ChannelClosedByBroker):
            logger.warning("a stream is not available", extra={"problem": str(reason)})
        if channel.connection.is_open:
            then()

    channel.add_on_close_callback(closed)
    for stream in streams:
        channel.queue_declare(stream.name, durable=True, arguments=dict(stream.arguments))
    # Its answer comes after that to the last declaration.
    channel.basic_qos(prefetch_count=1, callback=lambda _: channel.close())


def declare(channel: Channel, topology: Topology, then: Callable[[], None]) -> None:
    """One declaration after the other, then `then`. What the broker refuses ends the channel."""
    steps = _steps(channel, topology)

    def advance(_frame: object = None) -> None:
        step = next(steps, None)
        if step is None:
            then()
        else:
            step(callback=advance)

    advance()


def _steps(channel: Channel, topology: Topology) -> Iterator[Callable[..., object]]:
    """The queues first and each exchange directly before its bindings, the alternate exchange first
    of all: an exchange without its bindings would confirm messages and drop them."""
    for queue in topology.queues:
        yield partial(
            channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments)
        )
    for exchange in topology.exchanges:
        yield partial(
            channel.exchange_declare,
            exchange.name,
            exchange.kind,
            durable=True,
            arguments=dict(exchange.arguments),
        )
        for binding in topology.bindings:
            if binding.exchange == exchange.name:
                yield partial(
                    channel.queue_bind,
                    binding.queue,
                    binding.exchange,
                    routing_key=binding.routing_key,
                )
