"""The publisher: sends messages until the broker has confirmed each of them.

Runs on the broker's I/O thread only. Every message is persistent, mandatory and confirmed; one that
is nacked (a full queue), returned (no queue) or unanswered when the connection ends is published
again under the same id.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import pika
from pika.channel import Channel

from shared.backoff import jittered, pause_after
from shared.messages import Delivery, Outgoing
from shared.messaging.amqp.fast_connection import BatchingConnection
from shared.messaging.amqp.headers import Properties
from shared.messaging.confirms import Confirms, Publication
from shared.service.metrics import MESSAGES_PUBLISHED, PUBLISH_CONFIRM_DURATION
from shared.topology import QUEUES

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 5.0
# RabbitMQ (3.10 at least) can go on refusing whatever a channel sends: to a queue whose limit was
# lifted after it had been full, and in a cluster after the queue's leader was killed. Only a new
# channel is heard.
STUCK_SECONDS = 5.0


class Publisher:
    """Publications on their way, and those that wait for a connection."""

    def __init__(
        self,
        *,
        outputs_confirmed: Callable[[Sequence[Delivery]], None],
        replace: Callable[[Channel], None],
    ) -> None:
        """`outputs_confirmed` hears of the deliveries whose outputs all are. `replace` is asked for
        another channel when this one is refused for too long; then `opened` and `flush` are called.
        """
        self._outputs_confirmed = outputs_confirmed
        self._replace = replace
        self._opened_at = 0.0
        self._channel: Channel | None = None
        self._confirms = Confirms()
        self._backlog: deque[Publication] = deque()  # for when there is a connection again
        self._refused: list[Publication] = []  # for when their pause is over
        self._held = False

    def opened(self, channel: Channel) -> None:
        """A new channel in confirm mode; what waited goes out with `flush`."""
        self._channel = channel
        self._opened_at = time.monotonic()
        self._confirms = Confirms()
        channel.add_on_return_callback(self._on_return)

    def lost(self) -> None:
        """The channel is gone. Outputs of deliveries are dropped, because these come again."""
        self._channel = None
        self._held = False
        unconfirmed = self._confirms.abandon()
        _count(unconfirmed, "lost")
        left = [*unconfirmed, *self._refused, *self._backlog]
        self._backlog = deque(one for one in left if one.group.delivery is None)
        self._refused = []

    def _replace_channel(self, channel: Channel) -> None:
        """The connection lives, so that no input comes again: everything unanswered goes out on the
        next channel."""
        self._channel = None
        self._backlog = deque([*self._confirms.abandon(), *self._backlog])
        logger.warning("publishes refused for too long: opening another channel")
        self._replace(channel)

    def hold(self) -> None:
        """The broker takes nothing for now (an alarm there)."""
        self._held = True

    def release(self) -> None:
        """It does again."""
        self._held = False
        self.flush()

    def flush(self) -> None:
        """Sends what has waited."""
        waiting, self._backlog = self._backlog, deque()
        self.send(waiting)

    def send(self, publications: Iterable[Publication]) -> None:
        """Publishes now, or as soon as that is possible."""
        wanted = [one for one in publications if not one.group.cancelled]
        channel = self._channel
        if channel is None or self._held or not channel.is_open:
            self._backlog += wanted
            return
        for publication in wanted:
            publication.attempts += 1
            publication.returned = False
        self._confirms.sent(wanted)
        messages = [publication.message for publication in wanted]
        by_pika = partial(_publish, channel)
        if isinstance(channel.connection, BatchingConnection):
            channel.connection.publish(channel, messages, by_pika)
        else:
            for message in messages:
                by_pika(message)

    def on_confirm(self, frame: Any) -> None:
        """The broker's answer: an ack or a nack, of one or of all up to it."""
        if self._channel is None:  # a late word on a channel that is being replaced
            return
        method = frame.method
        acked = isinstance(method, pika.spec.Basic.Ack)
        answered = self._confirms.answered(method.delivery_tag, multiple=method.multiple)
        refused = [one for one in answered if one.returned] if acked else answered
        if refused:
            outcome = "returned" if acked else "nacked"
            _count(refused, outcome)
            for publication in refused:
                self._retry_later(publication, outcome)
            answered = [one for one in answered if not one.returned] if acked else []
        self._confirmed(answered)

    def _confirmed(self, publications: Sequence[Publication]) -> None:
        groups = [one.group for one in publications if one.confirmed()]
        _count(publications, "confirmed")
        if groups:
            PUBLISH_CONFIRM_DURATION.observe(time.monotonic() - groups[0].started)
        for group in groups:
            if group.done is not None:
                group.done()
        self._outputs_confirmed([group.delivery for group in groups if group.delivery is not None])

    def _on_return(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        self._confirms.mark_returned(
            method.exchange, method.routing_key, properties.message_id or "", body
        )

    def _retry_later(self, publication: Publication, why: str) -> None:
        """The same message again, after a pause that doubles, with jitter."""
        pause = pause_after(publication.attempts, _FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS)
        if publication.attempts in (1, 10) or publication.attempts % 100 == 0:
            logger.warning(
                "publish not accepted by the broker; retrying",
                extra={
                    "why": why,
                    "destination": _destination(publication),
                    "routing_key": publication.message.routing_key,
                    "attempts": publication.attempts,
                },
            )
        self._refused.append(publication)
        channel = self._channel
        if channel is not None:
            # Spread out: all at once, a queue with little room would refuse most of them each time.
            again = partial(self._retry, publication)
            channel.connection.ioloop.call_later(jittered(pause), again)

    def _retry(self, publication: Publication) -> None:
        self._refused.remove(publication)
        channel = self._channel
        aged = time.monotonic() - self._opened_at >= STUCK_SECONDS
        # Returned is not refused: where no queue is, another channel would not find one either.
        if channel is not None and aged and publication.attempts > 1 and not publication.returned:
            self._replace_channel(channel)
        self.send([publication])


def _destination(publication: Publication) -> str:
    """The metric label: an exchange, or the queue that was meant by its name."""
    message = publication.message
    return message.routing_key if message.exchange in ("", QUEUES) else message.exchange


def _count(publications: Sequence[Publication], outcome: str) -> None:
    for destination, count in Counter(map(_destination, publications)).items():
        MESSAGES_PUBLISHED.labels(destination, outcome).inc(count)


def _publish(channel: Channel, message: Outgoing) -> None:
    others = dict(message.others or {})
    if message.expiration_ms is not None:
        others["expiration"] = str(message.expiration_ms)
    channel.basic_publish(
        message.exchange,
        message.routing_key,
        message.body,
        Properties(
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=dict(message.headers),
            delivery_mode=2,
            priority=message.priority,
            message_id=message.message_id or None,
            type=message.type,
            timestamp=message.timestamp,
            **others,
        ),
        mandatory=True,
    )
