"""The events of an item whose answer is not one label: as `item_events.Journey`, of version 2."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from pydantic import JsonValue
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim
from services.review_ui.tasks.decide import Decided, DecisionRequest
from services.review_ui.tasks.decide import decide as decide_task
from services.review_ui.tasks.filters import EVERYTHING
from services.review_ui.tasks.intake import Intake
from shared.answers.base import Action, AnswerSpec, Kind
from shared.clock import utc_now
from shared.events.answered import (
    AnswerAccepted,
    AnswerDecision,
    AnswerItem,
    AnswerPrediction,
    AnswerReviewed,
    AnswerReviewRequested,
    AnswerScored,
)
from shared.events.models import Event, ItemFailed, Review, Routing
from shared.storage.tables import ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.item_events import AUTOMATIC, HUMAN, UNSURE, Journey, at, delivered

SECRET = "Emil lives at 7 Harbour Street"
Value = dict[str, JsonValue]


@dataclass(frozen=True)
class Said:
    """What is asked of one kind, what is predicted, and what a person answers instead."""

    kind: Kind
    predicted: Value
    other: Value
    asked: dict[str, Any]


# Where a kind may hold a person's words, they are there.
KINDS = {
    said.kind: said
    for said in (
        Said("labels", {"labels": ["insult", "toxic"]}, {"labels": []}, {}),
        Said(
            "spans",
            {"spans": [{"start": 0, "end": 4, "label": "PER"}]},
            {"spans": [{"start": 14, "end": 30, "label": "ADDRESS"}]},
            {},
        ),
        Said("form", {"form": {"name": SECRET, "total": 1}}, {"form": {"address": [SECRET]}}, {}),
        Said("text", {"text": f"{SECRET}."}, {"text": f"Yes, {SECRET}"}, {"draft": SECRET}),
        Said("preference", {"preferred": 0}, {"preferred": None}, {"candidates": (SECRET, "No")}),
        Said(
            "approval",
            {"verdict": "approve", "arguments": {"to": SECRET}, "reply": None},
            {"verdict": "reject", "arguments": {"to": SECRET}, "reply": f"Never: {SECRET}"},
            {"action": Action(name="send", arguments={"to": SECRET})},
        ),
    )
}


class AnswerJourney(Journey):
    """Each method gives the same event every time; `predicted=False`: nobody predicted anything."""

    def __init__(self, item_id: str, kind: Kind, *, predicted: bool = True) -> None:
        super().__init__(item_id, text=SECRET, workflow=kind)
        self.said = KINDS[kind]
        self.item = AnswerItem(
            **self.item.model_dump(exclude={"metadata"}),
            metadata=self.item.metadata,
            expires_at=at(900),
            **self.said.asked,
        )
        self.prediction = (
            AnswerPrediction(
                kind=kind, answer=self.said.predicted, confidence=0.75, model_version="theirs@1"
            )
            if predicted
            else None
        )

    def _about(self, seconds: float) -> dict[str, Any]:
        return {
            "workflow": self.workflow,
            "occurred_at": at(seconds),
            "item": self.item,
            "kind": self.said.kind,
            "prediction": self.prediction,
        }

    def _decision(self, answer: Value, seconds: float, **more: Any) -> AnswerDecision:
        return AnswerDecision(
            kind=self.said.kind,
            answer=answer,
            model_version="theirs@1",
            policy_version="policy-1",
            decided_at=at(seconds),
            ai_answer=self.prediction and self.prediction.answer,
            **more,
        )

    def scored(self) -> AnswerScored:  # type: ignore[override]  # of another version
        return AnswerScored(**self._about(1))

    def accepted(self) -> AnswerAccepted:  # type: ignore[override]  # as above
        decision = self._decision(
            self.said.predicted, 2, decided_by="ai", confidence=0.75, reasons=(AUTOMATIC,)
        )
        return AnswerAccepted(**self._about(2), decision=decision)

    def review_requested(self) -> AnswerReviewRequested:  # type: ignore[override]  # as above
        return AnswerReviewRequested(
            **self._about(2),
            routing=Routing(
                reasons=(UNSURE,),
                policy_version="policy-1",
                threshold=0.85,
                would_accept=False,
                blind=False,
                routed_at=at(2),
            ),
        )

    def answered(self, answer: Value, *, revision: int = 1) -> AnswerReviewed:
        """What a person says."""
        agreed = self.prediction is not None and answer == self.prediction.answer
        return AnswerReviewed(
            **self._about(100 + revision),
            decision=self._decision(
                answer,
                100 + revision,
                decided_by="human",
                confidence=None,
                reasons=(HUMAN,),
                reviewer=f"reviewer {revision}",
                action="accepted" if agreed else "corrected",
            ),
            review=Review(
                task_id=UUID(int=1),
                revision=revision,
                assigned_at=at(90),
                seconds=3.0,
                ai_label_shown=True,
                note=f"a note that says: {SECRET}",
            ),
        )

    def failed(self, queue: str, reason: Any = "retries_exhausted") -> ItemFailed:
        """With a failure's excerpt, which may hold the secret, too."""
        return super().failed(queue, reason).model_copy(update={"text": SECRET[:20]})

    def everything(self) -> list[Event]:
        return [
            self.failed("hitl.router"),
            self.scored(),
            self.review_requested(),
            self.failed(f"hitl.{self.workflow}.review"),
            self.answered(self.said.other),
            self.answered(self.said.predicted, revision=2),
        ]


LABELS: dict[Kind, tuple[str, ...]] = {
    "labels": ("insult", "toxic"),
    "spans": ("PER", "ADDRESS"),
}


def take_in(engine: Engine, *journeys: AnswerJourney) -> None:
    """Their requests for review become tasks."""
    batch = [delivered(journey.review_requested()) for journey in journeys]
    assert list(Intake(engine, utc_now).handle(batch)) == [()] * len(batch)


def decide(
    engine: Engine,
    reviewer: str,
    kind: Kind,
    answer: Value | None,
    *,
    second_review_share: float = 0.0,
    note: str | None = None,
) -> ReviewTask:
    """What somebody says to the next task of a kind; None: they accept what was predicted. Nobody
    can undo it."""
    now = utc_now()
    with Session(engine, expire_on_commit=False) as session, session.begin():
        (task,) = claim.claim(
            session,
            reviewer,
            workflows=[kind],
            count=1,
            now=now,
            lease_seconds=60.0,
            wanted=EVERYTHING,
            lead=False,
        )
        done = decide_task(
            session,
            reviewer,
            DecisionRequest(
                key=uuid4(),
                task_id=task.id,
                lease_token=task.lease_token,
                action="accept" if answer is None else "correct",
                answer=answer,
                note=note,
            ),
            spec=AnswerSpec(kind=kind, labels=LABELS.get(kind, ())),
            review=ReviewRules(second_review_share=second_review_share),
            now=now,
            undo_seconds=0.0,
        )
        assert isinstance(done, Decided), done
        return done.task
