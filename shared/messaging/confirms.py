"""Bookkeeping, pure: what is confirmed, and which deliveries may therefore be acked.

AMQP acks and confirms both come with a `multiple` flag, and confirms arrive out of order from
quorum queues: https://www.rabbitmq.com/docs/confirms
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.messages import Delivery, Outgoing


@dataclass(slots=True)
class Group:
    """Messages that count as one, done when the last of them is confirmed.

    The outputs of a `delivery` are not published again after a reconnect, because it comes back
    itself; others are, and `done` is called for them.
    """

    remaining: int
    started: float  # monotonic seconds
    delivery: Delivery | None = None
    done: Callable[[], None] | None = None
    cancelled: bool = False


@dataclass(slots=True)
class Publication:
    """One message on its way; it keeps its id however often it is published."""

    message: Outgoing
    group: Group
    attempts: int = 0
    returned: bool = False

    def confirmed(self) -> bool:
        """Counts this message as safe; True when that completed its group."""
        self.group.remaining -= 1
        return self.group.remaining == 0


class Confirms:
    """Unconfirmed publications of one channel by their sequence number, oldest first."""

    def __init__(self) -> None:
        self._outstanding: dict[int, Publication] = {}
        self._last = 0
        self._oldest = 1  # nothing below is outstanding

    def __len__(self) -> int:
        return len(self._outstanding)

    def sent(self, publications: Sequence[Publication]) -> None:
        """Notes publishes in their order; the broker numbers them from 1 on each channel."""
        first = self._last + 1
        self._last += len(publications)
        self._outstanding.update(zip(range(first, self._last + 1), publications, strict=True))

    def answered(self, tag: int, *, multiple: bool) -> list[Publication]:
        """Removes and gives what a confirm (or nack) of `tag` is about."""
        if not multiple:
            found = self._outstanding.pop(tag, None)
            while self._oldest <= self._last and self._oldest not in self._outstanding:
                self._oldest += 1
            return [] if found is None else [found]
        numbers = range(self._oldest, min(tag, self._last) + 1)
        self._oldest = max(self._oldest, numbers.stop)
        return [self._outstanding.pop(n) for n in numbers if n in self._outstanding]

    def mark_returned(self, exchange: str, routing_key: str, message_id: str, body: bytes) -> bool:
        """Notes a Basic.Return, which precedes the ack of the same message."""
        for publication in self._outstanding.values():
            message = publication.message
            if (
                not publication.returned
                and message.message_id == message_id
                and message.exchange == exchange
                and message.routing_key == routing_key
                and message.body == body
            ):
                publication.returned = True
                return True
        return False

    def abandon(self) -> list[Publication]:
        """Everything without an answer, when the channel is gone."""
        left = list(self._outstanding.values())
        self._outstanding.clear()
        return left


class AckWindow:
    """Deliveries of one channel in order; says up to which tag all of them may be acked."""

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._resolved: set[int] = set()
        self._unresolved = 0  # counted, because another thread asks while we work on the two above

    def __len__(self) -> int:
        """Deliveries not yet resolved."""
        return self._unresolved

    @property
    def unacked(self) -> int:
        """Deliveries not yet covered by an ack: the broker counts these against the prefetch."""
        return len(self._order)

    def delivered(self, tags: Sequence[int]) -> None:
        """Notes deliveries; tags only grow on a channel."""
        self._order.extend(tags)
        self._unresolved += len(tags)

    def resolve_tag(self, tag: int) -> None:
        """Its outputs are safe: it may be acked as soon as everything before it may."""
        self._resolved.add(tag)
        self._unresolved -= 1

    def advance(self) -> int | None:
        """The highest tag to ack (multiple) now, or None. Never gives the same tag twice."""
        last = None
        while self._order and self._order[0] in self._resolved:
            last = self._order.popleft()
            self._resolved.discard(last)
        return last
