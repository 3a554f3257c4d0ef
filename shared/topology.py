"""The exchanges, queues and bindings that exist.

One table, pure data; `shared.messaging.connection` declares it on every connection, so that a
broker that came back empty is whole again. What belongs to one workflow says so: it can be missing
without harm to the others (shared/messaging/declare.py). Safety sits in the queue arguments
(quorum, at-least-once dead letters, reject-publish); tunables such as lengths and limits belong in
a broker policy. Only `hitl.<workflow>.highlights` is best effort: bounded, the oldest dropped.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

ITEMS = "hitl.items"
EVENTS = "hitl.events"
UNROUTABLE = "hitl.unroutable"
# Straight to a queue, by its name, as through the default exchange. But who may write to that may
# write to every queue there is; here a service's rights end at its own (docs/operate/security.md).
QUEUES = "hitl.queues"
ROUTER_QUEUE = "hitl.router"
LOG_QUEUE = "hitl.log"
POLICY_STREAM = "hitl.policy"
POLICY_STREAM_BYTES = 100_000_000
HIGHLIGHTS_WAITING = 10_000  # requests a workflow; then the oldest is dropped
HIGHLIGHTS_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    kind: Literal["topic", "fanout"]
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Mapping[str, object]
    workflow: str | None = None
    """Whose it is; None: all workflows share it."""


@dataclass(frozen=True, slots=True)
class Binding:
    queue: str
    exchange: str
    routing_key: str
    workflow: str | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """`streams` stand apart: a broker that was killed can come back without one of them for good
    (seen with 3.10.8 killed within seconds of the declaration), and no message waits on that."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]
    streams: tuple[Queue, ...]

    @property
    def workflows(self) -> tuple[str, ...]:
        """Those that have a queue here."""
        owners = dict.fromkeys(queue.workflow for queue in self.queues)
        return tuple(owner for owner in owners if owner is not None)

    def queues_of(self, workflow: str | None) -> tuple[Queue, ...]:
        """One workflow's own; of None, those that all share."""
        return tuple(queue for queue in self.queues if queue.workflow == workflow)

    def without(self, workflows: Collection[str]) -> "Topology":
        """All that is shared, or another workflow's."""
        return replace(
            self,
            queues=tuple(one for one in self.queues if one.workflow not in workflows),
            bindings=tuple(one for one in self.bindings if one.workflow not in workflows),
        )

    def joined(self, more: "Topology") -> "Topology":
        """Both; what is in both stands once."""
        return Topology(
            exchanges=_by_name(self.exchanges + more.exchanges),
            queues=_by_name(self.queues + more.queues),
            bindings=tuple(dict.fromkeys(self.bindings + more.bindings)),
            streams=_by_name(self.streams + more.streams),
        )


_Named = TypeVar("_Named", Exchange, Queue)


def _by_name(some: tuple[_Named, ...]) -> tuple[_Named, ...]:
    return tuple({one.name: one for one in some}.values())


def inference_queue(workflow: str) -> str:
    return f"hitl.{workflow}.inference"


def review_queue(workflow: str) -> str:
    return f"hitl.{workflow}.review"


def highlights_queue(workflow: str) -> str:
    return f"hitl.{workflow}.highlights"


def accepted_queue(workflow: str) -> str:
    return f"hitl.{workflow}.accepted"


def dead_letter_queue(queue: str) -> str:
    return f"{queue}.dlq"


def retry_queue(queue: str, delay_seconds: int) -> str:
    return f"{queue}.retry.{delay_seconds}s"


def topology(workflows: Sequence[str], retry_delays_seconds: Sequence[int]) -> Topology:
    """Everything that the pipeline needs on the broker for these workflows."""
    consumed: list[tuple[str, str | None]] = [(ROUTER_QUEUE, None), (LOG_QUEUE, None)]
    bindings = [
        Binding(ROUTER_QUEUE, EVENTS, "item.scored.*"),
        Binding(LOG_QUEUE, EVENTS, "#"),
        # Not "#" on hitl.items: that would route an unknown workflow's items to the log alone, and
        # the alternate exchange would never see them. Bound there as well, the log misses nothing.
        Binding(LOG_QUEUE, UNROUTABLE, ""),
        Binding(UNROUTABLE, UNROUTABLE, ""),
        Binding(POLICY_STREAM, QUEUES, POLICY_STREAM),
    ]
    queues = [Queue(UNROUTABLE, _KEPT)]
    for name in workflows:
        inference, review = inference_queue(name), review_queue(name)
        accepted = accepted_queue(name)
        consumed += [(inference, name), (review, name), (accepted, name)]
        queues.append(Queue(highlights_queue(name), _BEST_EFFORT, name))
        bindings += [
            Binding(inference, ITEMS, name, name),
            Binding(LOG_QUEUE, ITEMS, name, name),
            Binding(review, EVENTS, f"item.review_requested.{name}", name),
            Binding(review, EVENTS, f"item.explained.{name}", name),
            Binding(highlights_queue(name), EVENTS, f"item.review_requested.{name}", name),
            Binding(accepted, EVENTS, f"item.accepted.{name}", name),
            Binding(accepted, EVENTS, f"item.reviewed.{name}", name),
        ]
    for queue, owner in consumed:
        queues.append(Queue(queue, {**_SAFE, **_dead_letter_to(dead_letter_queue(queue))}, owner))
        aside = [Queue(dead_letter_queue(queue), _KEPT, owner)]
        if not queue.endswith(".accepted"):  # consumed by others: we never retry there
            aside += [_retry(queue, delay, owner) for delay in retry_delays_seconds]
        queues += aside
        bindings += [Binding(one.name, QUEUES, one.name, owner) for one in aside]
    return Topology(
        exchanges=(
            Exchange(UNROUTABLE, "fanout", {}),
            Exchange(ITEMS, "topic", {"alternate-exchange": UNROUTABLE}),
            Exchange(EVENTS, "topic", {}),
            Exchange(QUEUES, "topic", {}),
        ),
        queues=tuple(queues),
        bindings=tuple(bindings),
        streams=(policy_stream(),),
    )


def unbound() -> Topology:
    """The exchanges alone, and the queue for what none of theirs takes: the least that can be there
    without losing a message, whatever the workflows."""
    drawn = topology((), ())
    return Topology(
        exchanges=drawn.exchanges,
        queues=tuple(queue for queue in drawn.queues if queue.name == UNROUTABLE),
        bindings=tuple(one for one in drawn.bindings if one.queue == one.exchange == UNROUTABLE),
        streams=(),
    )


_SAFE: Mapping[str, object] = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
# What nobody decides by: a full queue drops its oldest and refuses nothing, so that it can never
# hold up the router, whose messages go to it as well.
_BEST_EFFORT: Mapping[str, object] = {
    "x-queue-type": "quorum",
    "x-overflow": "drop-head",
    "x-max-length": HIGHLIGHTS_WAITING,
    "x-message-ttl": HIGHLIGHTS_DAY_MS,
}
# A person's look at a dead letter counts as a delivery. After 20 of them RabbitMQ 4 would drop it
# (https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling): people may look for ever.
_KEPT: Mapping[str, object] = {**_SAFE, "x-delivery-limit": 1_000_000_000}


def _dead_letter_to(queue: str) -> dict[str, object]:
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
        "x-dead-letter-strategy": "at-least-once",
    }


def _retry(queue: str, delay_seconds: int, workflow: str | None) -> Queue:
    """Messages wait here for the delay and are then dead-lettered back to `queue`."""
    arguments = {**_SAFE, **_dead_letter_to(queue), "x-message-ttl": delay_seconds * 1_000}
    return Queue(retry_queue(queue, delay_seconds), arguments, workflow)


def policy_stream() -> Queue:
    """The stream on which the certifier tells every router what holds
    (shared/events/live_policy.py)."""
    arguments = {"x-queue-type": "stream", "x-max-length-bytes": POLICY_STREAM_BYTES}
    return Queue(POLICY_STREAM, arguments)
