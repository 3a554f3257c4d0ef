"""Several reviewers at work on the data layer, with a clock that is turned: no server, no page."""

from collections.abc import Mapping, Sequence
from typing import TypeVar
from uuid import UUID, uuid4

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim, decide, gold, undo
from services.review_ui.tasks.claim import Lease
from services.review_ui.tasks.decide import Action, Decided, DecisionRequest, StaleLease
from services.review_ui.tasks.filters import EVERYTHING, TaskFilter
from services.review_ui.tasks.reopen import reopen
from services.review_ui.tasks.undo import Undone
from services.review_ui.tasks.views import TaskView, view
from shared.answers.base import AnswerSpec
from shared.events.models import ItemReviewed
from shared.messages import Outgoing
from shared.storage.outbox import publish_due
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules, Workflow
from tests.support.review_service import TurnedClock

Row = TypeVar("Row", ReviewDecision, Outbox)
LABELS = ("negative", "positive")
UNDO_SECONDS = 5.0
LEASE_SECONDS = 300.0


def lease_of(task: ReviewTask) -> Lease:
    """The hold on a task as it was handed out."""
    return Lease(task.id, task.lease_token)


class ReviewRoom:
    """Several people at work on one workflow, by its rules; each call is one transaction."""

    def __init__(
        self,
        engine: Engine,
        review: ReviewRules,
        leads: Sequence[str] = (),
        workflow: str = "sentiment",
    ) -> None:
        self.engine = engine
        self.clock = TurnedClock()
        self.review = review
        self.leads = frozenset(leads)
        self.workflow = workflow

    @property
    def workflows(self) -> Mapping[str, Workflow]:
        return {self.workflow: Workflow(name=self.workflow, labels=LABELS, review=self.review)}

    def claim(
        self, reviewer: str, count: int = 1, wanted: TaskFilter = EVERYTHING
    ) -> list[ReviewTask]:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            claimed = claim.claim(
                session,
                reviewer,
                workflows=[*self.workflows],
                count=count,
                now=self.clock(),
                lease_seconds=LEASE_SECONDS,
                wanted=wanted,
                lead=reviewer in self.leads,
            )
            return gold.mix_in(
                session,
                reviewer,
                claimed,
                self.workflows,
                now=self.clock(),
                lease_seconds=LEASE_SECONDS,
            )

    def heartbeat(self, reviewer: str, leases: Sequence[Lease]) -> set[UUID]:
        with Session(self.engine) as session, session.begin():
            held = claim.heartbeat(
                session, reviewer, leases, now=self.clock(), lease_seconds=LEASE_SECONDS
            )
        return set(held)

    def release(self, reviewer: str, leases: Sequence[Lease]) -> int:
        with Session(self.engine) as session, session.begin():
            return claim.release(session, reviewer, leases)

    def decide(
        self,
        reviewer: str,
        task: ReviewTask,
        label: str | None = "negative",
        action: Action = "correct",
        key: UUID | None = None,
        note: str | None = None,
        reason: str | None = "odd",
    ) -> Decided | StaleLease:
        request = DecisionRequest(
            key=key or uuid4(),
            task_id=task.id,
            lease_token=task.lease_token,
            action=action,
            label=label,
            reason=reason if action == "flag" else None,
            note=note,
        )
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return decide.decide(
                session,
                reviewer,
                request,
                spec=AnswerSpec(labels=LABELS),
                review=self.review,
                now=self.clock(),
                undo_seconds=UNDO_SECONDS,
            )

    def answer(self, reviewer: str, label: str) -> UUID:
        """Claims the one task that waits for this reviewer and decides it; the decision's key."""
        (task,) = self.claim(reviewer)
        key = uuid4()
        assert isinstance(self.decide(reviewer, task, label, key=key), Decided)
        return key

    def undo(self, reviewer: str, key: UUID) -> Undone:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return undo.undo(session, reviewer, key, now=self.clock(), lease_seconds=LEASE_SECONDS)

    def reopen(self, lead: str, task_id: UUID) -> ReviewTask:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return reopen(session, lead, task_id, now=self.clock(), lease_seconds=LEASE_SECONDS)

    def publish(self) -> list[ItemReviewed]:
        """What leaves just now, without a broker."""
        left: list[ItemReviewed] = []

        def take(messages: Sequence[Outgoing]) -> None:
            left.extend(ItemReviewed.model_validate_json(message.body) for message in messages)

        publish_due(self.engine, take, self.clock())
        return left

    def published_at_last(self) -> list[ItemReviewed]:
        """What leaves once every undo window has closed."""
        self.clock.turn(UNDO_SECONDS)
        return self.publish()

    def seen(self, task: ReviewTask, reader: str) -> TaskView:
        return view(task, {"sentiment": LABELS}, reader)

    def task(self, item_id: str) -> ReviewTask:
        with Session(self.engine) as session:
            return session.scalars(
                select(ReviewTask).where(
                    ReviewTask.item_id == item_id, ReviewTask.seeded_for.is_(None)
                )
            ).one()

    def rows(self, table: type[Row]) -> list[Row]:
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(select(table).order_by(text("id"))))
