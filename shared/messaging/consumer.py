"""The consumer: takes deliveries off the queues, so many at once, and acks them.

Runs on the broker's I/O thread only. *Slow start*: a message that kills its consumer also costs
its prefetched neighbours a delivery count, so each queue starts with prefetch 1 and goes to full
speed at the first delivery that is not a redelivery. Where bytes count, full speed is as many
messages as have half of them, by the size of those that came.
"""

from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pika import spec
from pika.channel import Channel

from shared.messages import Delivery
from shared.messaging.amqp.fast_connection import BatchingConnection, DeliverySink
from shared.messaging.amqp.headers import delivery_of
from shared.messaging.amqp.templates import Reader
from shared.messaging.confirms import AckWindow
from shared.messaging.retry import restore_origins

# How we see that nothing is on its way to us any more: the window is full, or for so long nothing
# came; with many small producers neither may ever be so, hence a limit of 2 seconds.
_LOOK_SECONDS = 0.05
_SILENT_LOOKS = 4
_MAX_LOOKS = 40
# How long a message may be held before RabbitMQ gives it to another worker (its "Delivery
# Acknowledgement Timeout"). The slowest batch, 64 texts on a slow core, takes a minute or two: what
# is held for longer hangs, or waits for Postgres, and then coming again costs nothing. 4.3 heeds
# this; 3.10 and 4.0 know only their node's limit (30 minutes), and count each time as a delivery.
HOLD_SECONDS = 600.0
# Held at most before anybody knows how large they are: an item may have 1 MiB.
_FIRST_PREFETCH = 64


@dataclass(slots=True)
class _Subscription:
    """One queue: probing (prefetch 1), then proven by `proof`, then at full speed."""

    queue: str
    tag: str | None = None
    probing: bool = True
    proof: int | None = None


class Consumer:
    """Takes from `queues` and gives batches to `take`, which must return at once."""

    def __init__(
        self,
        queues: Sequence[str],
        *,
        prefetch: int,
        take: Callable[[list[Delivery]], None],
        slow_start: bool = True,
        max_bytes: int | None = None,
        hold_seconds: float = HOLD_SECONDS,
        busy: Callable[[], bool] = lambda: False,
        paused: bool = False,
    ) -> None:
        """While `busy` says so, nothing is taken on a new channel: whoever still works at what the
        last one brought would only hold it. `paused`: nothing is before the first `resume`."""
        self._hold_ms = int(hold_seconds * 1_000)
        self._busy = busy
        self._held_back = False
        self._max_prefetch = prefetch
        self._max_bytes = max_bytes
        self._prefetch = prefetch
        self._bytes = 0  # of the bodies of what is not ackable yet
        self._size = 0.0  # of a body, lately
        self._slow_start = slow_start
        self._take = take
        self._queues = tuple(queues)
        self._subscriptions: dict[str, _Subscription] = {}
        self._channel: Channel | None = None
        self._generation = 0
        self._window = AckWindow()
        self._in_progress: Counter[str] = Counter()
        self._arrived: list[Delivery] = []
        self._queues_by_tag: dict[bytes, str] = {}  # consumer tags, as they are on the wire
        self._turn_scheduled = False
        self._paused = paused
        self._quiet = False
        self._delivered = 0  # deliveries so far

    @property
    def quiet(self) -> bool:
        """Whether it is paused and nothing more can be on its way; a snapshot from any thread."""
        return self._quiet

    @property
    def held_back(self) -> bool:
        """Whether its owner was busy as the channel opened: nothing until `take_held_back`."""
        return self._held_back

    @property
    def probing(self) -> bool:
        """Whether any queue is still at one message at a time."""
        return any(subscription.probing for subscription in self._subscriptions.values())

    def unfinished(self) -> int:
        """Deliveries taken on the live channel and not yet ackable; a snapshot from any thread."""
        return len(self._window) if self._channel is not None else 0

    def in_progress(self, queue: str) -> int:
        """Those of one queue that are not yet ackable; a snapshot from any thread."""
        return self._in_progress[queue]

    def opened(self, channel: Channel, generation: int) -> None:
        """A new channel: everything starts afresh."""
        self._channel = channel
        self._generation = generation
        self._window = AckWindow()
        self._bytes = 0
        self._arrived = []
        self._turn_scheduled = False
        self._quiet = self._paused
        self._queues_by_tag = {}
        if isinstance(channel.connection, BatchingConnection):
            reader = Reader(channel.channel_number, self._queues_by_tag, generation)
            channel.connection.sink = DeliverySink(reader, self._arrive)
        self._held_back = self._busy()
        if not (self._paused or self._held_back):
            self._subscribe_all()

    def take_held_back(self) -> None:
        """The owner is done with what it was busy with."""
        if self._held_back:
            self._held_back = False
            if not self._paused:
                self._subscribe_all()

    def closing(self) -> None:
        """The connection is about to be closed: whatever may be acked is acked now."""
        self._ack()

    def cancelled(self) -> None:
        """By the broker: what came is no longer ours, and is acked no more. RabbitMQ 4.3 would take
        an ack, settle nothing by it, and deliver again to the consumer that it has cancelled."""
        self._channel = None

    def lost(self) -> None:
        """The channel is gone, and with it every tag."""
        self._channel = None
        self._held_back = False
        self._subscriptions = {}
        self._in_progress.clear()

    def pause(self) -> None:
        """Cancels every subscription; what has been delivered, or is on its way, stays ours."""
        self._paused = True
        for subscription in self._subscriptions.values():
            subscription.proof = None
        self._cancel_in_silence(self._generation, looks=0, silent=0, heard=self._delivered)

    def resume(self) -> None:
        """Subscribes again, one message at a time first."""
        if self._paused:
            self._paused = self._quiet = False
            if self._held_back:
                return
            if self._subscriptions:  # still waiting for silence
                self._schedule_turn()
            else:
                self._subscribe_all()

    def leave_out(self, queues: Container[str]) -> None:
        """From the next channel on, nothing is taken from these; until they are added."""
        self._queues = tuple(queue for queue in self._queues if queue not in queues)

    def add(self, queues: Sequence[str]) -> bool:
        """Takes from these queues as well, one message at a time first; False: not while paused."""
        if self._paused:
            return False
        new = [queue for queue in queues if queue not in self._queues]
        self._queues += tuple(new)
        if self._channel is None or self._held_back:  # they are taken along
            return True
        self._channel.basic_qos(prefetch_count=1 if self._slow_start else self._prefetch)
        for queue in new:
            self._subscriptions[queue] = _Subscription(queue, probing=self._slow_start)
            self._subscribe(self._channel, self._subscriptions[queue])
        return True

    def _cancel_in_silence(self, generation: int, *, looks: int, silent: int, heard: int) -> None:
        """A message that is between its queue and our channel when we cancel is sent back by the
        broker, with a delivery counted against it. We no longer ack, so soon none is."""
        if generation != self._generation or not self._paused or self._channel is None:
            return
        silent = silent + 1 if heard == self._delivered else 0
        full = self._window.unacked >= self._max_held()
        if looks >= _MAX_LOOKS or silent >= _SILENT_LOOKS or full:
            self._cancel_all()
            return
        again = partial(
            self._cancel_in_silence,
            generation,
            looks=looks + 1,
            silent=silent,
            heard=self._delivered,
        )
        self._channel.connection.ioloop.call_later(_LOOK_SECONDS, again)

    def _cancel_all(self) -> None:
        def on_quiet(_frame: object) -> None:
            self._quiet = self._paused

        for subscription in self._subscriptions.values():
            self._cancel(subscription)
        self._subscriptions = {}
        if self._channel is not None and self._channel.is_open:
            # pika sends this when the last cancel is answered, and the broker answers it after
            # everything that it had sent us before.
            self._channel.basic_qos(prefetch_count=1, callback=on_quiet)
            self._schedule_turn()

    def _adjust_prefetch(self, channel: Channel, max_bytes: int) -> None:
        """Asks for half or fewer of the messages, or for twice as many or more, where those that
        are here say so. What is on its way when we ask for fewer comes again, counted once."""
        size = max(self._size, self._bytes / len(self._window), 1.0)
        wanted = max(1, min(self._max_prefetch, int(max_bytes / 2 / size)))
        if (
            wanted * 2 <= self._prefetch
            if self._bytes > max_bytes
            else wanted >= self._prefetch * 2
        ):
            self._prefetch = wanted
            fast = [one for one in self._subscriptions.values() if not one.probing]
            for subscription in fast:
                self._cancel(subscription)
            channel.basic_qos(prefetch_count=wanted)
            for subscription in fast:
                self._subscribe(channel, subscription)

    def _max_held(self) -> int:
        """How many the broker may let us hold."""
        return sum(1 if one.probing else self._prefetch for one in self._subscriptions.values())

    def mark_ackable(self, deliveries: Sequence[Delivery]) -> None:
        """Their outputs are confirmed: ack them with the turn's others, in one frame."""
        if self._channel is None:
            return
        current = [one for one in deliveries if one.generation == self._generation]
        for delivery in current:
            self._window.resolve_tag(delivery.tag)
            self._bytes -= len(delivery.body)
        self._in_progress.subtract(delivery.queue for delivery in current)
        if self.probing:
            tags = {delivery.tag for delivery in current}
            for subscription in self._subscriptions.values():
                if subscription.proof in tags:
                    self._go_full_speed(self._channel, subscription)
        self._schedule_turn()

    def _subscribe_all(self) -> None:
        if self._channel is None:
            return
        if self._max_bytes is not None:
            self._prefetch = min(self._max_prefetch, _FIRST_PREFETCH)
        self._subscriptions = {
            queue: _Subscription(queue, probing=self._slow_start) for queue in self._queues
        }
        self._channel.basic_qos(prefetch_count=1 if self._slow_start else self._prefetch)
        for subscription in self._subscriptions.values():
            self._subscribe(self._channel, subscription)

    def _subscribe(self, channel: Channel, subscription: _Subscription) -> None:
        def on_message(_channel: Channel, method: Any, properties: Any, body: bytes) -> None:
            self._arrive(
                [delivery_of(subscription.queue, method, properties, body, self._generation)]
            )

        subscription.tag = channel.basic_consume(
            subscription.queue, on_message, arguments={"x-consumer-timeout": self._hold_ms}
        )
        self._queues_by_tag[subscription.tag.encode()] = subscription.queue

    def _cancel(self, subscription: _Subscription) -> None:
        """Not by `basic_cancel`: from then on pika rejects whatever is still on its way, which
        counts a delivery against each of these messages and sends them round again."""
        channel, tag = self._channel, subscription.tag
        if channel is not None and channel.is_open and tag is not None:

            def forget(_frame: object) -> None:  # nothing more comes by this tag
                channel._cleanup_consumer_ref(tag)
                self._queues_by_tag.pop(tag.encode(), None)

            cancelled = (spec.Basic.CancelOk, {"consumer_tag": tag})
            channel._rpc(spec.Basic.Cancel(tag), forget, [cancelled])
            subscription.tag = None

    def _arrive(self, deliveries: Sequence[Delivery]) -> None:
        self._delivered += len(deliveries)
        self._window.delivered([delivery.tag for delivery in deliveries])
        self._in_progress.update(delivery.queue for delivery in deliveries)
        if self.probing:
            for delivery in deliveries:
                self._probe(delivery)
        restore_origins(deliveries)
        self._arrived += deliveries
        self._schedule_turn()
        if self._max_bytes is not None:
            self._count_bytes(self._max_bytes, deliveries)

    def _count_bytes(self, max_bytes: int, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._bytes += len(delivery.body)
            self._size += (len(delivery.body) - self._size) / 16
        # More is asked for while the window is full, or what one queue may send is here: then none
        # of that is on its way to us.
        fast = [one.queue for one in self._subscriptions.values() if not one.probing]
        if (
            self._channel is not None
            and not self._paused
            and fast
            and (
                self._bytes > max_bytes
                or self._window.unacked >= self._max_held()
                or max(map(self._in_progress.__getitem__, fast)) >= self._prefetch
            )
        ):
            self._adjust_prefetch(self._channel, max_bytes)

    def _probe(self, delivery: Delivery) -> None:
        """Cancelled while this one message is unacked, the broker can send no second one."""
        subscription = self._subscriptions.get(delivery.queue)
        if subscription is None or not subscription.probing or subscription.proof is not None:
            return
        if not delivery.redelivered:
            subscription.proof = delivery.tag
            self._cancel(subscription)

    def _go_full_speed(self, channel: Channel, subscription: _Subscription) -> None:
        self._ack()
        subscription.probing = False
        subscription.proof = None
        channel.basic_qos(prefetch_count=self._prefetch)
        self._subscribe(channel, subscription)

    def _schedule_turn(self) -> None:
        """Once per turn of the I/O loop: hand over what arrived, ack what may be."""
        if not self._turn_scheduled and self._channel is not None:
            self._turn_scheduled = True
            self._channel.connection.ioloop.call_later(0, self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._channel is None:
            return
        if self._arrived:
            arrived, self._arrived = self._arrived, []
            self._take(arrived)
        # A quorum queue that has 32 commands of a channel to write down keeps its further acks in
        # the channel's memory, and forgets them when the channel closes: each of these messages
        # would come again. So on the way to a stop everything is acked at once, at the end; and
        # not before the cancel, because each ack makes room for another delivery.
        if not (self._paused and (self._subscriptions or len(self._window))):
            self._ack()

    def _ack(self) -> None:
        tag = self._window.advance()
        if tag is not None and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(tag, multiple=True)
