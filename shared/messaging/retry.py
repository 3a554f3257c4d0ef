"""The retry policy, pure: try again, when, or dead-letter; and what the copies say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import NotYet, Permanent, Retryable
from shared.messages import Delivery, Outgoing, plain, short_text
from shared.topology import QUEUES, dead_letter_queue, retry_queue

ATTEMPT = "x-attempt"
# Where a message was first published: on its way back it comes through the default exchange.
ORIGINAL_EXCHANGE = "x-hitl-exchange"
ORIGINAL_ROUTING_KEY = "x-hitl-routing-key"
REASON = "x-hitl-reason"
ERROR = "x-hitl-error"
FAILED_AT = "x-hitl-failed-at"
REDRIVES = "x-hitl-redrives"  # how often a person has put it back
# Properties of a message that its copy must not have are noted in its headers. The broker takes a
# user's id from that user alone; an expiration would end the wait for another try, or the dead
# letter; and by a priority what waits there would be handed out in another order.
PRIORITY = "x-hitl-priority"
_NOTED = {"user_id": "x-hitl-user-id", "expiration": "x-hitl-expiration"}
# What the broker puts a queue's name for; from a channel without one it is an error.
# https://www.rabbitmq.com/docs/direct-reply-to
_REPLY_HERE = "amq.rabbitmq.reply-to"
# RabbitMQ's own dead-letter trace describes the way through our retry queues, not the message.
_DROPPED = ("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
            "x-last-death-exchange", "x-last-death-queue", "x-last-death-reason",
            "x-delivery-count", "x-acquired-count")  # fmt: skip
_DETAIL_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after how long. `delays_seconds[n]` follows failure n; after the last comes the
    dead-letter queue."""

    delays_seconds: Sequence[int]
    delivery_limit: int

    def after(self, delivery: Delivery, error: Retryable, *, jitter: float) -> Outgoing | Permanent:
        """The delayed copy of `delivery`, or `Permanent` when its attempts are used up.

        `jitter` in [0, 1) shortens the delay by up to a half, so that what failed together does not
        come back together. Our own counter counts: the broker's changed its meaning at 4.0 and 4.3.
        """
        attempt = attempts(delivery)
        if attempt > len(self.delays_seconds):
            if not (isinstance(error, NotYet) and self.delays_seconds):
                return Permanent("retries_exhausted", f"failed {attempt} times, at last: {error}")
            attempt = len(self.delays_seconds)  # the longest delay, for as long as it takes
        delay = self.delays_seconds[attempt - 1]
        return _copy(
            delivery,
            retry_queue(delivery.queue, delay),
            {ATTEMPT: attempt + 1, ERROR: str(error)[:_DETAIL_CHARACTERS]},
            expiration_ms=int(delay * 1_000 * (1 - jitter / 2)),
        )

    def died_too_often(self, delivery: Delivery, *, takes_counted: bool) -> Permanent | None:
        """`Permanent` for a message that was taken again and again and never settled: it kills its
        consumer. Checked before the handler sees it. Since 4.3 `x-delivery-count` counts ended
        connections alone, and `x-acquired-count` also what was given back, or held for too long.

        Both headers may be the message's own words, copied or forged. Of what came again, older
        releases write the first, and 4.3 (`takes_counted`) the second, which is never less; it
        leaves a first that it has nothing to say to."""
        deaths = delivery.count("x-delivery-count")
        if takes_counted:
            deaths = min(deaths, delivery.count("x-acquired-count"))
        if deaths < self.delivery_limit:
            return None
        return Permanent(
            "delivery_limit",
            f"delivered {deaths + 1} times and never settled: it ends its consumer",
        )


def attempts(delivery: Delivery) -> int:
    """Which attempt this delivery is, the first being 1."""
    return max(1, delivery.count(ATTEMPT))


def dead_letter(delivery: Delivery, error: Permanent, *, failed_at: str) -> Outgoing:
    """The copy for the dead-letter queue: the bytes as they came, the reason in the headers."""
    return _copy(
        delivery,
        dead_letter_queue(delivery.queue),
        {
            REASON: error.reason,
            ERROR: error.detail[:_DETAIL_CHARACTERS],
            "x-hitl-queue": delivery.queue,
            FAILED_AT: failed_at,
            ATTEMPT: attempts(delivery),
        },
    )


def redriven_headers(delivery: Delivery) -> dict[str, object]:
    """What a dead letter says on its way back to its queue: its attempts count anew, what was wrong
    is gone, how often it went back is counted, and where it first came from stays known."""
    gone = (*_DROPPED, ATTEMPT, REASON, ERROR, FAILED_AT, "x-hitl-queue")
    kept = {key: value for key, value in delivery.headers.items() if key not in gone}
    return {**kept, **origin_headers(delivery), REDRIVES: delivery.count(REDRIVES) + 1}


def origin_headers(delivery: Delivery) -> dict[str, object]:
    """What a copy notes of its original: where that was first published, and the properties that
    the copy must not have."""
    others = delivery.others or {}
    notes: dict[str, object] = {
        header: others[name] for name, header in _NOTED.items() if name in others
    }
    if delivery.priority is not None:
        notes[PRIORITY] = delivery.priority
    return {
        **notes,
        ORIGINAL_EXCHANGE: delivery.exchange,
        ORIGINAL_ROUTING_KEY: delivery.routing_key,
    }


def origin(headers: Mapping[str, object], routing_key: str) -> tuple[str, str] | None:
    """The exchange and the routing key that a copy with these headers was first published with;
    `routing_key` where it notes none. None where the headers are not a copy's."""
    if ORIGINAL_EXCHANGE not in headers:
        return None
    noted = (headers[ORIGINAL_EXCHANGE], headers.get(ORIGINAL_ROUTING_KEY, routing_key))
    exchange, key = map(plain, noted)
    return _text(exchange), _text(key)


def restore_origins(deliveries: Sequence[Delivery]) -> None:
    """Gives each copy of ours, which came through the default exchange, the exchange and the
    routing key that it was first published with. On anything else a count of attempts is somebody's
    copy of that header, and is dropped: nothing was tried yet."""
    for delivery in deliveries:
        headers = delivery.headers
        if delivery.exchange == "" and ORIGINAL_EXCHANGE in headers:
            found = origin(headers, delivery.routing_key)
            delivery.exchange, delivery.routing_key = found or ("", delivery.routing_key)
        elif ATTEMPT in headers:
            delivery.headers = {name: headers[name] for name in headers if name != ATTEMPT}


def _text(value: object) -> str:
    return short_text(value) if isinstance(value, bytes) else str(value)


def passed_on(delivery: Delivery) -> dict[str, str] | None:
    """The properties for others that a copy has as well."""
    found = {
        name: value
        for name, value in (delivery.others or {}).items()
        if name not in _NOTED and value != _REPLY_HERE
    }
    return found or None


def first_priority(delivery: Delivery) -> int | None:
    """What its producer gave it: as it came, or as a copy notes it."""
    if delivery.priority is not None or PRIORITY not in delivery.headers:
        return delivery.priority
    return min(max(delivery.count(PRIORITY), 0), 255)


def copy_to(
    exchange: str,
    queue: str,
    delivery: Delivery,
    headers: Mapping[str, object],
    expiration_ms: int | None = None,
) -> Outgoing:
    """The same bytes for another queue, with these headers and what others may read."""
    return Outgoing(
        exchange=exchange,
        routing_key=queue,
        body=delivery.body,
        message_id=delivery.message_id or "",
        content_type=delivery.content_type or "application/octet-stream",
        content_encoding=delivery.content_encoding,
        headers=headers,
        type=delivery.type,
        expiration_ms=expiration_ms,
        timestamp=delivery.timestamp,
        others=passed_on(delivery),
    )


def _copy(
    delivery: Delivery, queue: str, headers: dict[str, object], expiration_ms: int | None = None
) -> Outgoing:
    kept = {key: value for key, value in delivery.headers.items() if key not in _DROPPED}
    whole = {**kept, **origin_headers(delivery), **headers}
    return copy_to(QUEUES, queue, delivery, whole, expiration_ms)
