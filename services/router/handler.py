"""The handler of the router: a scored item's message becomes the same event each time it comes."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic_core import to_json

from services.router.event_json import answer_tail, event_head, event_tail, join_event
from services.router.policy import Policy
from services.router.route import Steering, route, steer
from shared.clock import Clock, as_utc
from shared.errors import NotYet, Permanent
from shared.events.answered import AnswerAccepted, AnswerReviewRequested, AnswerScored
from shared.events.envelope import Stamp, decode, enclose
from shared.events.live_policy import LiveRoute
from shared.events.models import Content, ItemAccepted, ItemReviewRequested, ItemScored, derive_text
from shared.events.traceparent import traceparent_of
from shared.hashing import salt_version
from shared.messages import Delivery, Result
from shared.service.metrics import ITEM_AGE, ROUTES, RULES_INCOMPARABLE, observe_all

logger = logging.getLogger(__name__)

Routed = ItemAccepted | ItemReviewRequested | AnswerAccepted | AnswerReviewRequested
Scored = ItemScored | AnswerScored
SCORED: tuple[type[Scored], ...] = (ItemScored, AnswerScored)
REMEMBERED_ITEMS = 100_000  # about 1 kB each
# Counted from 0 on: a rate does not see a counter's first value.
COMMON_ROUTES = (
    ("accept", "confident"),
    ("accept", "rule"),
    ("review", "below_threshold"),
    ("review", "not_certified"),
    ("review", "panel"),
    ("review", "always_review"),
    ("review", "rule"),
)
_EDITED = (
    "this id was routed with another text, and that decision stands: send a new version under a "
    "new id"
)


class Decided(NamedTuple):
    """A decision without its item, which may be a megabyte."""

    content: Content
    kind: type[Routed]
    stamp: Stamp
    head: bytes
    tail: bytes


class Served(NamedTuple):
    """What holds for one workflow during one batch."""

    policy: Policy
    steering: Steering
    head: bytes


class BatchContext:
    """What holds for one batch: its time, its workflows' policies, and the routes taken so far."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.json = to_json(now)
        self.stamp = Stamp.of(now)
        self.routes: list[tuple[str, str, str]] = []
        self.ages: list[float] = []
        self.served: dict[str, Served] = {}


class Router:
    """Turns `item.scored` into `item.accepted` or `item.review_requested`."""

    def __init__(
        self,
        policy_of: Callable[[str], Policy | None],
        *,
        salt: str,
        clock: Clock,
        live_of: Callable[[str], LiveRoute | None] = lambda _workflow: None,
        has_file: Callable[[str], bool] = lambda _workflow: False,
        remembered_items: int = REMEMBERED_ITEMS,
        workflows: Iterable[str] = (),
    ) -> None:
        """`policy_of` names the policy of a workflow, None for one that is not served; `live_of`
        what the certifier says of it, None where nothing was heard; `has_file` whether a policy
        may yet come; `workflows` are those whose metrics are shown from the start."""
        for workflow in workflows:
            self.count(workflow)
        self._policy_of = policy_of
        self._live_of = live_of
        self._has_file = has_file
        self._salt = salt
        self._salt_version = salt_version(salt)
        self._clock = clock
        self._memory = Memory(remembered_items)
        self._routed_age = ITEM_AGE.labels("routed")
        self._warned: set[tuple[str, str]] = set()

    def count(self, workflow: str) -> None:
        """Shows its routes from 0 on."""
        for chosen, reason in COMMON_ROUTES:
            ROUTES.labels(workflow, chosen, reason)

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        context = BatchContext(self._clock())
        results = [self._handle(delivery, context) for delivery in batch]
        for labels, count in Counter(context.routes).items():
            ROUTES.labels(*labels).inc(count)
        observe_all(self._routed_age, context.ages)
        return results

    def _handle(self, delivery: Delivery, context: BatchContext) -> Result:
        try:
            scored: Scored = decode(delivery, *SCORED)
        except Permanent as error:
            return error
        workflow, item = scored.workflow, scored.item
        key, content = (workflow, item.id), item.content
        kept = self._memory.recall(key)
        if kept is None:
            served = context.served.get(workflow) or self._served(workflow, context)
            if served is None:
                return self._without_policy(workflow)
            kept = self._decide(scored, content, served, context)
            self._memory.keep(key, kept)
        first, kind, stamp, head, tail = kept
        if content.text != first.text:  # what was decided goes out with its decision, or not at all
            return Permanent("edited", _EDITED)
        if content.metadata != first.metadata:  # the decision is out, or on its way, with its own
            return ()
        return (
            enclose(
                kind,
                join_event(head, item, tail),
                event_id=derive_text(kind.type, workflow, item.id),
                workflow=workflow,
                item_id=item.id,
                stamp=stamp,
                source="router",
                traceparent=traceparent_of(delivery),
            ),
        )

    def _served(self, workflow: str, context: BatchContext) -> Served | None:
        policy = self._policy_of(workflow)
        if policy is None:
            return None
        steering = steer(policy, self._live_of(workflow), context.now)
        served = Served(policy, steering, event_head(workflow, context.now))
        context.served[workflow] = served
        return served

    def _decide(
        self, scored: Scored, content: Content, served: Served, context: BatchContext
    ) -> Decided:
        now, prediction = context.now, scored.prediction
        chosen = route(
            served.policy,
            scored.workflow,
            scored.item,
            prediction,
            self._salt,
            self._salt_version,
            now,
            served.steering,
        )
        for rule in served.policy.incomparable(scored.item, prediction):
            self._count_incomparable(scored.workflow, rule.name)
        context.routes.append((scored.workflow, chosen.route, chosen.reasons[0].code))
        context.ages.append(max((now - as_utc(scored.item.received_at)).total_seconds(), 0.0))
        accepted = chosen.route == "accept"
        kind: type[Routed]
        if isinstance(scored, AnswerScored):
            kind = AnswerAccepted if accepted else AnswerReviewRequested
            written = answer_tail(scored, chosen, now)
        else:
            kind = ItemAccepted if accepted else ItemReviewRequested
            written = event_tail(scored.prediction, chosen, now, context.json)
        return Decided(content, kind, context.stamp, served.head, written)

    def _count_incomparable(self, workflow: str, rule: str) -> None:
        """Counted each time, logged once: it is the rule or the producer that is to be changed."""
        RULES_INCOMPARABLE.labels(workflow, rule).inc()
        if (workflow, rule) not in self._warned:
            self._warned.add((workflow, rule))
            logger.warning(
                "a rule does not match: it compares a value with one of another type",
                extra={"workflow": workflow, "rule": rule},
            )

    def _without_policy(self, workflow: str) -> NotYet | Permanent:
        if self._has_file(workflow):  # new, or refused: waiting is better than a guess
            return NotYet(f"no valid policy for {workflow!r} yet: see `hitl workflow check`")
        return Permanent("unknown_workflow", f"no policy for {workflow!r} here")


class Memory:
    """The last items routed: a duplicate gets the decision of the first, whatever the policy or the
    prediction says by now."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str], Decided] = OrderedDict()

    def recall(self, key: tuple[str, str]) -> Decided | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: tuple[str, str], kept: Decided) -> None:
        self._kept[key] = kept
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
