"""The channels of a connection: one publishes and is confirmed, one takes deliveries.

Whatever ends a channel is told, but where it was only replaced. Runs on the I/O thread.
"""

from collections.abc import Callable, Sequence
from functools import partial

import pika
from pika.channel import Channel

from shared.messages import Delivery
from shared.messaging.consumer import Consumer
from shared.messaging.publisher import Publisher


class Channels:
    """Opens both on each new connection, and another one to publish on when that is stuck."""

    def __init__(
        self,
        consumer: Consumer | None,
        *,
        ready: Callable[[], None],
        ended: Callable[[BaseException], None],
        cancelled: Callable[[], None],
    ) -> None:
        """`ready` hears when all are open, `ended` why one is no longer, `cancelled` that the
        broker gives us no more deliveries."""
        self.publisher = Publisher(
            outputs_confirmed=self.mark_ackable, replace=self._replace_publishing
        )
        self._consumer = consumer
        self._ready = ready
        self._ended = ended
        self._cancelled = cancelled
        self._replaced: Channel | None = None
        self._generation = 0

    def open(self, connection: pika.SelectConnection, generation: int) -> None:
        """Both channels of a new connection, one after the other; then `ready`."""
        self._generation = generation
        connection.channel(on_open_callback=partial(self._confirm, then=self._open_taking))

    def mark_ackable(self, deliveries: Sequence[Delivery]) -> None:
        """All outputs of these are confirmed."""
        if self._consumer is not None and deliveries:
            self._consumer.mark_ackable(deliveries)

    def closing(self) -> None:
        """The connection is about to be closed."""
        if self._consumer is not None:
            self._consumer.closing()

    def lost(self) -> None:
        """The connection is gone."""
        self._replaced = None
        self.publisher.lost()
        if self._consumer is not None:
            self._consumer.lost()

    def _confirm(self, channel: Channel, then: Callable[[Channel], None]) -> None:
        # Without this callback a channel that the broker closes looks alive for minutes.
        channel.add_on_close_callback(self._on_closed)

        def confirming(_frame: object) -> None:
            self.publisher.opened(channel)
            then(channel)

        channel.confirm_delivery(self.publisher.on_confirm, callback=confirming)

    def _open_taking(self, publishing: Channel) -> None:
        if (consumer := self._consumer) is None:
            self._ready()
            return

        def opened(channel: Channel) -> None:
            channel.add_on_close_callback(self._on_closed)
            channel.add_on_cancel_callback(self._on_cancelled)
            consumer.opened(channel, self._generation)
            self._ready()

        publishing.connection.channel(on_open_callback=opened)

    def _replace_publishing(self, channel: Channel) -> None:
        """Another channel for publishing; that of the deliveries stays as it is."""
        self._replaced = channel
        if channel.is_open:
            channel.close()

    def _on_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._replaced is not None and channel is self._replaced:
            self._replaced = None
            if channel.connection.is_open:
                again = partial(self._confirm, then=lambda _channel: self.publisher.flush())
                channel.connection.channel(on_open_callback=again)
            return
        self._ended(reason)

    def _on_cancelled(self, _frame: object) -> None:
        """By 4.3 for a message that was held for too long, too; older ones close the channel."""
        if self._consumer is not None:
            self._consumer.cancelled()
        self._cancelled()
