"""What becomes of a scored item's message: which event leaves, and is it the same one next time?"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from pydantic_core import from_json

from services.router.policy import Policy, Route, Steering, route, salt_version, steer
from shared.clock import Clock
from shared.envelope import decode, encode
from shared.errors import NotYet, Permanent
from shared.events import Decision, ItemAccepted, ItemReviewRequested, ItemScored, Routing
from shared.live_policy import LiveRoute
from shared.messages import Delivery
from shared.metrics import ITEM_AGE, ROUTES
from shared.tracing import trace_of
from shared.worker import Result

Routed = ItemAccepted | ItemReviewRequested
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

    def count(self, workflow: str) -> None:
        """Shows its routes from 0 on."""
        for chosen, reason in COMMON_ROUTES:
            ROUTES.labels(workflow, chosen, reason)

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        now = self._clock()
        taken: Counter[tuple[str, str, str]] = Counter()
        steered: dict[str, tuple[Policy, Steering]] = {}  # one answer of both for a whole batch
        results = [self._handle(delivery, now, taken, steered) for delivery in batch]
        for labels, count in taken.items():
            ROUTES.labels(*labels).inc(count)
        return results

    def _handle(
        self,
        delivery: Delivery,
        now: datetime,
        taken: Counter[tuple[str, str, str]],
        steered: dict[str, tuple[Policy, Steering]],
    ) -> Result:
        try:
            scored = decode(delivery, ItemScored)
        except Permanent as error:
            return error
        routed = self._memory.recall(scored)
        known = routed is not None
        if routed is None:
            both = steered.get(scored.workflow)
            if both is None:
                policy = self._policy_of(scored.workflow)
                if policy is None:
                    return self._without_policy(scored.workflow)
                live = self._live_of(scored.workflow)
                both = steered[scored.workflow] = (policy, steer(policy, live, now))
            policy, steering = both
            chosen = route(
                policy,
                scored.workflow,
                scored.item,
                scored.prediction,
                self._salt,
                self._salt_version,
                now,
                steering,
            )
            routed = routed_event(scored, chosen, now)
            taken[scored.workflow, chosen.route, chosen.reasons[0].code] += 1
            self._routed_age.observe(max((now - scored.item.received_at).total_seconds(), 0.0))
        message = encode(routed, source="router", traceparent=trace_of(delivery))
        if not known:
            self._memory.keep(routed, message.body)
        return (message,)

    def _without_policy(self, workflow: str) -> NotYet | Permanent:
        if self._has_file(workflow):  # new, or refused: waiting is better than a guess
            return NotYet(f"no valid policy for {workflow!r} yet: see `hitl workflow check`")
        return Permanent("unknown_workflow", f"no policy for {workflow!r} here")


class Memory:
    """The last items routed: a duplicate gets the decision of the first, whatever the policy or the
    prediction says by now. The items themselves are not kept: they may be a megabyte each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str], tuple[type[Routed], bytes]] = OrderedDict()

    def recall(self, scored: ItemScored) -> Routed | None:
        key = (scored.workflow, scored.item.id)
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        kind, content = found
        return kind.model_validate({**from_json(content), "item": scored.item})

    def keep(self, routed: Routed, body: bytes) -> None:
        """`body` is its JSON; the item is cut out of it, which costs less than writing it again."""
        # These stand between fields only: within a text, JSON escapes the quotes; no metadata come
        # before the item, and after it no field but this one holds an object under this name.
        start, end = body.index(b',"item":{'), body.rindex(b',"prediction":{')
        self._kept[routed.workflow, routed.item.id] = (type(routed), body[:start] + body[end:])
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def routed_event(scored: ItemScored, chosen: Route, now: datetime) -> Routed:
    """The event that states the route. (`model_construct` would be slower than validation here.)"""
    if chosen.route == "accept":
        return ItemAccepted(
            workflow=scored.workflow,
            occurred_at=now,
            item=scored.item,
            prediction=scored.prediction,
            decision=Decision(
                label=scored.prediction.label,
                decided_by="ai",
                confidence=scored.prediction.confidence,
                model_version=scored.prediction.model_version,
                policy_version=chosen.policy_version,
                reasons=chosen.reasons,
                decided_at=now,
                threshold=chosen.threshold,
                certificate_version=chosen.certificate_version,
                sampling=chosen.sampling,
                ai_label=scored.prediction.label,
            ),
        )
    return ItemReviewRequested(
        workflow=scored.workflow,
        occurred_at=now,
        item=scored.item,
        prediction=scored.prediction,
        routing=Routing(
            reasons=chosen.reasons,
            policy_version=chosen.policy_version,
            threshold=chosen.threshold,
            certificate_version=chosen.certificate_version,
            sampling=chosen.sampling,
            would_accept=chosen.would_accept,
            blind=chosen.blind,
            queue=chosen.queue,
            priority=chosen.priority,
            due_at=chosen.due_at,
            routed_at=now,
        ),
    )
