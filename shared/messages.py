"""A message before and after the broker, and what handles it: plain data, no client library.

Not frozen, though nobody changes them: that would cost two microseconds for each message.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from shared.errors import Permanent, Retryable

Headers = Mapping[str, object]
# How CloudEvents attributes are named in headers: both ways of the AMQP binding, then those of the
# RabbitMQ binding (cloudevents 2.2 writes it) and of Kafka's, which bridges copy. The first counts.
ATTRIBUTE_PREFIXES = ("cloudEvents_", "cloudEvents:", "ce-", "ce_")
# Properties that say something to others than us, in their order; a copy has them, too.
OTHERS = ("reply_to", "correlation_id", "expiration", "user_id", "app_id", "cluster_id")
SHORT_BYTES = 255  # what an AMQP short string holds: a message id, a content type


class ForeignHeader(NamedTuple):
    """A header of somebody else's that pika would change: its value, and how it goes on."""

    value: object
    wire: bytes  # its type and its value, as they came


def plain(header: object) -> object:
    """The value of a header, however it is carried."""
    return header.value if isinstance(header, ForeignHeader) else header


@dataclass(slots=True)
class Outgoing:
    """A message to publish: always persistent, mandatory and confirmed.

    `message_id` stays the same over every republication. `expiration_ms` is a per-message TTL.
    `priority` None is the middle one, 4, to RabbitMQ 4.3; older quorum queues have two, or none.
    `others`: more properties, by their names (`OTHERS`).
    """

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    headers: Headers = field(default_factory=dict)
    content_type: str = "application/json"
    content_encoding: str | None = None
    type: str | None = None
    expiration_ms: int | None = None
    timestamp: int | None = None  # seconds since the epoch
    priority: int | None = None
    others: Mapping[str, str] | None = None


@dataclass(slots=True)
class Delivery:
    """A message as it came from `queue`. `tag` and `generation` identify it for the broker:
    a tag is only worth something on the channel (the generation) that delivered it. `others`: those
    of `OTHERS` that it has; None is none."""

    queue: str
    exchange: str
    routing_key: str
    body: bytes
    headers: Headers
    tag: int
    generation: int = 0
    redelivered: bool = False
    message_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    timestamp: int | None = None
    type: str | None = None
    priority: int | None = None
    others: Mapping[str, str] | None = None

    def header(self, name: str, *others: str) -> str | None:
        """The first of the named headers that holds a non-empty text."""
        value = self.headers.get(name)
        if type(value) is str and value:  # nearly always
            return value
        for each in (name, *others):
            value = plain(self.headers.get(each))
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            if isinstance(value, str) and value:
                return value
        return None

    def count(self, name: str) -> int:
        """A header that counts; 0 where it is absent or not a number."""
        value = plain(self.headers.get(name))
        return value if isinstance(value, int) and not isinstance(value, bool) else 0


Result = Sequence[Outgoing] | Permanent | Retryable
"""What became of one delivery: what to publish (possibly nothing), or how it failed."""


class Handler(Protocol):
    """The work of one service."""

    def handle(self, batch: Sequence[Delivery]) -> Sequence[Result]:
        """One result per delivery, in order.

        Raises:
            Overloaded: nothing can be done now; the same batch comes again after a pause.
            Exception: the batch is bisected until the culprit stands alone, which is then retried
                and at last dead-lettered.
        """
        ...


def short_text(value: str | bytes) -> str:
    """A short string as text: pika hands over one that is not UTF-8 as bytes. Other bytes are
    another text, unless they spell these out; and it is a short string, which a copy can carry."""
    if isinstance(value, str):
        return value
    text = value.decode("utf-8", "backslashreplace")
    fits = len(text.encode()) <= SHORT_BYTES
    return text if fits else f"not-utf8-{hashlib.sha256(value).hexdigest()}"


@lru_cache(maxsize=64)
def attribute_names(attribute: str) -> tuple[str, ...]:
    """The headers that a CloudEvents attribute may be in, the first that is there counts."""
    return tuple(prefix + attribute for prefix in ATTRIBUTE_PREFIXES)
