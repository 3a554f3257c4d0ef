"""One pass over a dead-letter queue: removes or requeues some messages, the rest keep their place.

One pass in order, on a connection of its own, over no more than the queue held at the start. Every
message is taken without an ack, even where a few are wanted, and those that stay return when the
channel closes: a quorum queue puts a returned message *behind* those returned before, so that only
a pass over all of them keeps the order. For the same reason there is one consumer and not many
`basic.get`: each of those is a consumer of its own, and theirs return in no particular order.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import pika
from pika.channel import Channel

from hitl.support.queue_depths import declared_depths
from shared.events.submissions import guess_id
from shared.messages import OTHERS, Delivery, plain, short_text
from shared.messaging.amqp.headers import delivery_of
from shared.messaging.retry import FAILED_AT, REASON, REDRIVES, first_priority, origin, passed_on
from shared.messaging.session import GOODBYE_SECONDS, Session
from shared.topology import QUEUES, UNROUTABLE, inference_queue

MAX_UNACKED = 65_535  # AMQP's largest prefetch: so many can be held at once; the rest waits
_IDLE_SECONDS = 3.0  # then another consumer took the rest
# A quorum queue keeps acks beyond its 32 open commands in the channel's memory, and loses them
# when the channel closes too early.
_SETTLE_SECONDS = 0.5

Action = Literal["keep", "requeue", "remove", "stop"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead-lettered message; its `delivery` has the exchange and routing key it was first
    published with."""

    queue: str
    delivery: Delivery
    properties: pika.BasicProperties

    @property
    def home(self) -> str:
        """The queue that it failed in; of an unroutable message, its workflow's."""
        if self.queue == UNROUTABLE:
            return inference_queue(self.delivery.routing_key)
        return self.queue.removesuffix(".dlq")

    @property
    def reason(self) -> str:
        """Our reason, else the broker's."""
        if self.queue == UNROUTABLE:
            return "unknown_workflow"
        first = str(plain(self.delivery.headers.get("x-first-death-reason", "unknown")))
        return self.delivery.header(REASON) or first

    @property
    def redrives(self) -> int:
        """How often it was requeued already."""
        return self.delivery.count(REDRIVES)

    @property
    def failed_at(self) -> datetime | None:
        """When it was dead-lettered; of an unroutable message, when it was published."""
        told = self.delivery.header(FAILED_AT)
        death = _death(self.delivery.headers, -1).get("time")
        if told is not None:
            try:
                when = datetime.fromisoformat(told)
            except ValueError:
                return None
        elif isinstance(death, datetime):
            when = death
        elif self.delivery.timestamp is not None and 0 < self.delivery.timestamp < 253402300800:
            return datetime.fromtimestamp(self.delivery.timestamp, UTC)
        else:
            return None
        return when if when.tzinfo is not None else when.replace(tzinfo=UTC)

    @property
    def item_id(self) -> str:
        """The item's id, as in the log."""
        return guess_id(self.delivery)


class QueuePass:
    """Calls `choose` for each message of a queue and does the action that it returns."""

    def __init__(
        self,
        queue: str,
        choose: Callable[[DeadLetter], Action],
        *,
        headers: Callable[[Delivery], dict[str, object]] = lambda delivery: dict(delivery.headers),
        home: Callable[[DeadLetter], str] = lambda message: message.home,
        before_acks: Callable[[], None] = lambda: None,
    ) -> None:
        """`headers` and `home`: the headers and the queue of a message to requeue. `before_acks`
        runs before any message is removed."""
        self.seen = 0
        self.gone = 0  # removed, or requeued and confirmed
        self.refused = 0  # by the broker: they stay
        self._queue = queue
        self._choose = choose
        self._headers = headers
        self._home = home
        self._before_acks = before_acks
        self._expected = 0
        self._unconfirmed: dict[int, DeadLetter] = {}  # by publish sequence number
        self._published = 0
        self._returned: set[int] = set()
        self._leaving: set[int] = set()
        self._oldest_tag = 1  # of those not acked
        self._flush_scheduled = False
        self._stopped = False
        self._ended = False
        self._channel: Channel | None = None
        self._session = Session("dead-letters", self._on_channel)

    def run(self, amqp_url: str) -> None:
        """Goes over the queue.

        Raises:
            Overloaded: no connection, or it was lost; confirmed messages are gone.
            Exception: what `choose` or `before_acks` raised.
        """
        self._session.run(amqp_url)
        # The rest returns a moment after the channel has closed: the next pass must find it.
        deadline = time.monotonic() + GOODBYE_SECONDS
        while time.monotonic() < deadline:
            if depths(amqp_url, [self._queue]).get(self._queue, 0) >= self.seen - self.gone:
                return
            time.sleep(0.05)

    def _on_channel(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_return_callback(self._on_return)
        count = partial(channel.queue_declare, self._queue, passive=True, callback=self._on_count)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: count())

    def _on_count(self, frame: Any) -> None:
        self._expected = min(frame.method.message_count, MAX_UNACKED)
        channel = self._channel
        if channel is None or self._expected == 0:
            self._end()
            return
        channel.basic_qos(prefetch_count=self._expected)
        channel.basic_consume(self._queue, self._on_message)
        self._watch(0)

    def _watch(self, seen: int) -> None:
        """Ends the pass when no more messages arrive, though they should."""
        if self._channel is None or self._ended:
            return
        if seen == self.seen and seen:
            self._end()
            return
        self._channel.connection.ioloop.call_later(_IDLE_SECONDS, partial(self._watch, self.seen))

    def _on_message(self, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        if self._ended or self.seen >= self._expected:
            return
        self.seen += 1
        if not self._stopped:
            self._handle(channel, read(self._queue, method, properties, body))
        if self.seen >= self._expected:
            self._end()

    def _handle(self, channel: Channel, message: DeadLetter) -> None:
        try:
            action = self._choose(message)
        except BaseException as error:  # also KeyboardInterrupt
            self._fail(error)
            return
        if action == "requeue":
            self._requeue(channel, message)
        elif action == "remove":
            self._leaving.add(message.delivery.tag)
            self._schedule_flush()
        self._stopped = action == "stop"

    def _requeue(self, channel: Channel, message: DeadLetter) -> None:
        properties = message.properties
        properties.headers = self._headers(message.delivery)
        properties.delivery_mode = 2
        properties.priority = first_priority(message.delivery)
        others = passed_on(message.delivery) or {}
        for name in OTHERS:
            setattr(properties, name, others.get(name))
        self._published += 1
        self._unconfirmed[self._published] = message
        # To its queue alone, by the default exchange: no other consumer sees it a second time.
        channel.basic_publish(
            "", self._home(message), message.delivery.body, properties, mandatory=True
        )

    def _on_return(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        """Precedes the ack of the same message, and identifies it only by its content."""
        for number, message in self._unconfirmed.items():
            same = self._home(message) == method.routing_key and message.delivery.body == body
            same = same and message.properties.message_id == properties.message_id
            if same and number not in self._returned:
                self._returned.add(number)
                return

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        upto = method.delivery_tag
        numbers = [n for n in self._unconfirmed if n <= upto] if method.multiple else [upto]
        for number in numbers:
            message = self._unconfirmed.pop(number, None)
            if message is None:
                continue
            if isinstance(method, pika.spec.Basic.Ack) and number not in self._returned:
                self._leaving.add(message.delivery.tag)
            else:
                self.refused += 1
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled and self._channel is not None:
            self._flush_scheduled = True
            self._channel.connection.ioloop.call_later(0, self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        if self._leaving:
            try:
                self._before_acks()
            except BaseException as error:
                self._fail(error)
                return
            self._ack(channel)
        if self._ended and not self._unconfirmed:
            pause = _SETTLE_SECONDS if self.gone else 0.0
            channel.connection.ioloop.call_later(pause, self._session.end)

    def _ack(self, channel: Channel) -> None:
        """Acks in one frame up to the first that stays, the others one by one."""
        leaving, self._leaving = self._leaving, set()
        self.gone += len(leaving)
        oldest = self._oldest_tag
        while oldest in leaving:
            leaving.discard(oldest)
            oldest += 1
        if oldest != self._oldest_tag:
            channel.basic_ack(oldest - 1, multiple=True)
            self._oldest_tag = oldest
        for tag in sorted(leaving):
            channel.basic_ack(tag)

    def _end(self) -> None:
        """Handles no further message, and waits for outstanding confirms."""
        self._ended = True
        self._schedule_flush()

    def _fail(self, error: BaseException) -> None:
        self._ended = True
        self._session.fail(error)


def read(queue: str, method: Any, properties: Any, body: bytes) -> DeadLetter:
    """The dead-lettered message in a delivery of `queue`."""
    headers: Mapping[str, Any] = properties.headers or {}
    death = _death(headers, 0)
    delivery = delivery_of(queue.removesuffix(".dlq"), method, properties, body)
    # Dead-lettered by the broker itself, straight from an exchange that producers write to: then
    # headers of our names are not ours. Else only we can have sent it there.
    foreign = death.get("exchange") not in (None, "", QUEUES)
    first = None if foreign else origin(headers, delivery.routing_key)
    if first is not None:
        delivery.exchange, delivery.routing_key = first
    elif death:
        keys = death.get("routing-keys", ())
        delivery.exchange = short_text(death.get("exchange", delivery.exchange))
        delivery.routing_key = short_text(next(iter(keys), delivery.routing_key))
    return DeadLetter(queue, delivery, properties)


def depths(amqp_url: str, queues: list[str]) -> dict[str, int]:
    """The number of ready messages of each queue that exists."""
    return {name: depth["ready"] for name, depth in declared_depths(amqp_url, queues).items()}


def _death(headers: Mapping[str, object], place: Literal[0, -1]) -> Mapping[str, Any]:
    """The broker's record of the newest (0) or the oldest (-1) dead-lettering; empty if none."""
    deaths = plain(headers.get("x-death"))
    found = deaths[place] if isinstance(deaths, list) and deaths else None
    return found if isinstance(found, dict) else {}
