"""A stream of items whose machine is right so often, and people who audit it.

Routed by the real policy, written by the real logger; only the model and the people are simulated.
Time is the test's own.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine

from services.feedback.certificate.certifier import WorkflowCertifier
from services.feedback.certificate.workload import Relief
from services.logger.handler import Logger
from services.router.policy import Policy
from services.router.route import Route, route, steer
from shared.clock import utc_now
from shared.events.live_policy import LiveRoute
from shared.events.models import (
    Decision,
    Event,
    Item,
    ItemAccepted,
    ItemReviewed,
    ItemScored,
    Prediction,
    Review,
)
from tests.support.expected_route import routed_event, sampling_of
from tests.support.item_events import delivered

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LABELS = ("negative", "positive")
OTHER = {"negative": "positive", "positive": "negative"}
CERTIFIED = {
    "mode": "certified",
    "threshold": 0.5,
    "certificate": {"alpha": 0.05, "delta": 0.10, "sla_hours": 24},
}


class AuditedStream:
    """One workflow: items come, are routed by what the certifier said last, and are audited."""

    def __init__(
        self, engine: Engine, policy: dict[str, object] | None = None, *, seed: int = 7
    ) -> None:
        self.engine = engine
        self.policy = Policy.from_mapping(policy or CERTIFIED, LABELS)
        self.now = START
        self.live: LiveRoute | None = None
        self.model = "m1"
        self.random = random.Random(seed)
        self.routes: list[Route] = []
        self.log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
        self.certifier = self.another()
        self._number = 0

    def another(self) -> WorkflowCertifier:
        """A certifier that knows nothing but the database."""
        relief = Relief(timedelta(minutes=10))
        return WorkflowCertifier(self.engine, "sentiment", timedelta(hours=1), relief=relief)

    def use(self, **content: object) -> None:
        """Another policy file."""
        self.policy = Policy.from_mapping({**CERTIFIED, **content}, LABELS)

    def write(self, events: Sequence[Event]) -> None:
        """Into the log, as the logger does."""
        for start in range(0, len(events), 1_000):
            batch = [delivered(event) for event in events[start : start + 1_000]]
            results = self.log.handle(batch)
            assert all(result == () or list(result) == [] for result in results)  # type: ignore[arg-type]

    def score(
        self, count: int, *, low: float = 0.5, high: float = 1.0, text: str | None = None
    ) -> list[ItemScored]:
        """Items that the model has scored, one a second; `text`: that of all of them."""
        scored = []
        for _ in range(count):
            self._number += 1
            self.now += timedelta(seconds=1)
            confidence = self.random.uniform(low, high)
            label = self.random.choice(LABELS)
            scored.append(
                ItemScored(
                    workflow="sentiment",
                    occurred_at=self.now,
                    item=Item(
                        id=f"i{self._number}",
                        text=text or f"text {self._number}",
                        received_at=self.now,
                    ),
                    prediction=Prediction(
                        label=label,
                        confidence=confidence,
                        distribution={label: confidence, OTHER[label]: 1 - confidence},
                        model_version=self.model,
                    ),
                )
            )
        return scored

    def stream(
        self,
        count: int,
        *,
        error: float = 0.0,
        answered: bool = True,
        low: float = 0.5,
        high: float = 1.0,
        text: str | None = None,
    ) -> list[Route]:
        """Items come and are routed; people audit theirs a minute later, and find that a share of
        `error` of all labels is wrong."""
        events: list[Event] = []
        routes = []
        for scored in self.score(count, low=low, high=high, text=text):
            now = scored.occurred_at
            steering = steer(self.policy, self.live, now)
            chosen = route(
                self.policy,
                "sentiment",
                scored.item,
                scored.prediction,
                "salt",
                "v1",
                now,
                steering,
            )
            routed = routed_event(scored, chosen, now)
            wrong = self.random.random() < error
            events += [scored, routed]
            routes.append(chosen)
            if not isinstance(routed, ItemAccepted) and answered:
                label = scored.prediction.label
                events.append(
                    reviewed(
                        scored,
                        chosen,
                        OTHER[label] if wrong else label,
                        now + timedelta(minutes=1),
                    )
                )
        self.write(events)
        self.routes += routes
        return routes

    def look(self, certifier: WorkflowCertifier | None = None) -> LiveRoute:
        """What the certifier says when it trusts the log to be whole; routers hear it at once."""
        self.now += timedelta(minutes=12)
        self.live = (certifier or self.certifier).look(self.policy, self.now)
        return self.live

    def certify(self) -> LiveRoute:
        """From nothing to a certificate."""
        self.stream(250)
        self.look()
        self.stream(400)
        live = self.look()
        assert live.state == "certified", live.reason
        return live


def reviewed(
    scored: ItemScored, chosen: Route, label: str, at: datetime, revision: int = 1
) -> ItemReviewed:
    """What a reviewer says of an item, blind."""
    agreed = label == scored.prediction.label
    return ItemReviewed(
        workflow=scored.workflow,
        occurred_at=at,
        item=scored.item,
        prediction=scored.prediction,
        decision=Decision(
            label=label,
            decided_by="human",
            confidence=None,
            model_version=scored.prediction.model_version,
            policy_version=chosen.policy_version,
            reasons=chosen.reasons,
            decided_at=at,
            threshold=chosen.threshold,
            certificate_version=chosen.certificate_version,
            sampling=sampling_of(chosen),
            ai_label=scored.prediction.label,
            reviewer="grace",
            action="accepted" if agreed else "corrected",
        ),
        review=Review(
            task_id=uuid4(),
            revision=revision,
            assigned_at=at,
            seconds=1.0,
            ai_label_shown=not chosen.blind,
        ),
    )
