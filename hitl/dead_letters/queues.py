"""One pass over a dead-letter queue: some leave, the rest keep their place.

One pass in order, on a connection of its own, over no more than lay there at the start. Everything
is taken without an ack, even where a few are wanted, and what stays goes back when the channel
closes: a quorum queue puts what comes back *behind* what came back before, so that only a look at
all of it keeps the order. For the same reason there is one consumer and not many `basic.get`: each
of those is a consumer of its own, and theirs come back in no particular order.
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
from shared.messaging.retry import (
    FAILED_AT,
    REASON,
    REDRIVES,
    first_priority,
    origin,
    passed_on,
)
from shared.messaging.session import GOODBYE_SECONDS, Session
from shared.topology import QUEUES, UNROUTABLE, inference_queue

MAX_UNACKED = 65_535  # AMQP's largest prefetch: so many can be held at once; the rest waits
_SILENT_SECONDS = 3.0  # then somebody else took the rest
# A quorum queue keeps acks beyond its 32 open commands in the channel's memory, and forgets them
# when the channel closes too early.
_SETTLE_SECONDS = 0.5

Verdict = Literal["stay", "go back", "go away", "enough"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter. `delivery.exchange` and `.routing_key` are those it was first sent with."""

    queue: str
    delivery: Delivery
    properties: pika.BasicProperties

    @property
    def home(self) -> str:
        """The queue that it failed in; for one that nobody took, that of its workflow."""
        if self.queue == UNROUTABLE:
            return inference_queue(self.delivery.routing_key)
        return self.queue.removesuffix(".dlq")

    @property
    def reason(self) -> str:
        """Ours, else what the broker says."""
        if self.queue == UNROUTABLE:
            return "unknown_workflow"
        first = str(plain(self.delivery.headers.get("x-first-death-reason", "unknown")))
        return self.delivery.header(REASON) or first

    @property
    def redrives(self) -> int:
        """How often it was put back already."""
        return self.delivery.count(REDRIVES)

    @property
    def failed_at(self) -> datetime | None:
        """When it was set aside; for one that nobody took, when it was sent."""
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
        """The item's id, as the log has it."""
        return guess_id(self.delivery)


class Pass:
    """Shows each letter of a queue to `judge` and does what it says."""

    def __init__(
        self,
        queue: str,
        judge: Callable[[DeadLetter], Verdict],
        *,
        headers: Callable[[Delivery], dict[str, object]] = lambda delivery: dict(delivery.headers),
        home: Callable[[DeadLetter], str] = lambda letter: letter.home,
        before_acks: Callable[[], None] = lambda: None,
    ) -> None:
        """`headers` of a letter that goes back, and which queue is its `home`; `before_acks` runs
        before any is taken away."""
        self.looked = 0
        self.gone = 0  # away, or back and confirmed there
        self.refused = 0  # the broker did not take them: they stay
        self._queue = queue
        self._judge = judge
        self._headers = headers
        self._home = home
        self._before_acks = before_acks
        self._expected = 0
        self._unconfirmed: dict[int, DeadLetter] = {}  # by publish sequence number
        self._published = 0
        self._returned: set[int] = set()
        self._leaving: set[int] = set()
        self._oldest_tag = 1  # of those not acked
        self._turn_scheduled = False
        self._enough = False
        self._ended = False
        self._channel: Channel | None = None
        self._session = Session("dead-letters", self._on_channel)

    def run(self, amqp_url: str) -> None:
        """Goes over the queue.

        Raises:
            Overloaded: there is no connection, or it ended. What was confirmed has gone.
            Exception: what `judge` or `before_acks` raised.
        """
        self._session.run(amqp_url)
        self._wait_for_the_rest(amqp_url)

    def _wait_for_the_rest(self, amqp_url: str) -> None:
        """Returns when what stays is back in its queue, a moment after the channel has closed: who
        looks again at once must find it."""
        deadline = time.monotonic() + GOODBYE_SECONDS
        while time.monotonic() < deadline:
            if depths(amqp_url, [self._queue]).get(self._queue, 0) >= self.looked - self.gone:
                return
            time.sleep(0.05)

    def _on_channel(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_return_callback(self._on_return)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._ask(channel))

    def _ask(self, channel: Channel) -> None:
        channel.queue_declare(self._queue, passive=True, callback=self._on_count)

    def _on_count(self, frame: Any) -> None:
        self._expected = min(frame.method.message_count, MAX_UNACKED)
        channel = self._channel
        if channel is None or self._expected == 0:
            self._end()
            return
        channel.basic_qos(prefetch_count=self._expected)
        channel.basic_consume(self._queue, self._on_message)
        self._watch(0)

    def _watch(self, looked: int) -> None:
        """Ends the pass when nothing more comes, though it should."""
        if self._channel is None or self._ended:
            return
        if looked == self.looked and looked:
            self._end()
            return
        self._channel.connection.ioloop.call_later(
            _SILENT_SECONDS, partial(self._watch, self.looked)
        )

    def _on_message(self, channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        if self._ended or self.looked >= self._expected:
            return
        self.looked += 1
        if not self._enough:
            self._look(channel, read(self._queue, method, properties, body))
        if self.looked >= self._expected:
            self._end()

    def _look(self, channel: Channel, letter: DeadLetter) -> None:
        try:
            verdict = self._judge(letter)
        except BaseException as error:  # Ctrl-C, too
            self._fail(error)
            return
        if verdict == "go back":
            self._put_back(channel, letter)
        elif verdict == "go away":
            self._leaving.add(letter.delivery.tag)
            self._schedule_turn()
        self._enough = verdict == "enough"

    def _put_back(self, channel: Channel, letter: DeadLetter) -> None:
        properties = letter.properties
        properties.headers = self._headers(letter.delivery)
        properties.delivery_mode = 2
        properties.priority = first_priority(letter.delivery)
        others = passed_on(letter.delivery) or {}
        for name in OTHERS:
            setattr(properties, name, others.get(name))
        self._published += 1
        self._unconfirmed[self._published] = letter
        # To its queue alone, by the default exchange: no other reader sees it a second time.
        channel.basic_publish(
            "", self._home(letter), letter.delivery.body, properties, mandatory=True
        )

    def _on_return(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        """Comes before the ack of the same message, and names it by nothing but its content."""
        for number, letter in self._unconfirmed.items():
            same = self._home(letter) == method.routing_key and letter.delivery.body == body
            same = same and letter.properties.message_id == properties.message_id
            if same and number not in self._returned:
                self._returned.add(number)
                return

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        upto = method.delivery_tag
        numbers = [n for n in self._unconfirmed if n <= upto] if method.multiple else [upto]
        for number in numbers:
            letter = self._unconfirmed.pop(number, None)
            if letter is None:
                continue
            if isinstance(method, pika.spec.Basic.Ack) and number not in self._returned:
                self._leaving.add(letter.delivery.tag)
            else:
                self.refused += 1
        self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled and self._channel is not None:
            self._turn_scheduled = True
            self._channel.connection.ioloop.call_later(0, self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
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
        """In one frame up to the first that stays, the others one by one."""
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
        """Nothing more is looked at; what is on its way is waited for."""
        self._ended = True
        self._schedule_turn()

    def _fail(self, error: BaseException) -> None:
        self._ended = True
        self._session.fail(error)


def read(queue: str, method: Any, properties: Any, body: bytes) -> DeadLetter:
    """The letter in a delivery of `queue`."""
    headers: Mapping[str, Any] = properties.headers or {}
    death = _death(headers, 0)
    delivery = delivery_of(queue.removesuffix(".dlq"), method, properties, body)
    # Set aside by the broker itself, straight from an exchange that others write to: then our
    # headers are not ours. Else only we can have sent it there.
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
    """How many letters lie in those of the queues that exist."""
    return {name: depth["ready"] for name, depth in declared_depths(amqp_url, queues).items()}


def _death(headers: Mapping[str, object], place: Literal[0, -1]) -> Mapping[str, Any]:
    """The broker's trace of the newest (0) or the oldest (-1) of its dead-letterings; empty where
    there is none."""
    deaths = plain(headers.get("x-death"))
    found = deaths[place] if isinstance(deaths, list) and deaths else None
    return found if isinstance(found, dict) else {}
