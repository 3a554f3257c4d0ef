"""Tables of what people are asked and what they answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Json, one_of
from shared.storage.waiting_tasks import DESCENDING, FOR_LEADS, OPEN_TO_ALL

TASK_STATUSES = ("open", "decided", "flagged")
ACTIONS = ("accept", "correct", "skip", "flag")
ROUNDS = ("first", "second", "adjudication")

_URGENCY = tuple(text(f"{name} DESC") if down else name for name, down in DESCENDING.items())


class ReviewTask(Base):
    """A question to a person.

    A lease is (`lease_token`, `leased_by`, `lease_expires_at`); the token only grows, so that
    whoever comes back after the lease has expired is recognised (fencing).
    """

    __tablename__ = "review_task"
    __table_args__ = (
        one_of("status", TASK_STATUSES),
        one_of("round", ROUNDS),
        # One task an item; a gold item has one for each reviewer.
        Index(
            "review_task_item",
            "workflow",
            "item_id",
            unique=True,
            postgresql_where=text("seeded_for IS NULL"),
        ),
        Index("review_task_next", "workflow", *_URGENCY, postgresql_where=text(OPEN_TO_ALL)),
        Index("review_task_leads", "workflow", *_URGENCY, postgresql_where=text(FOR_LEADS)),
        Index(
            "review_task_label",
            "workflow",
            text("(prediction ->> 'label')"),
            *_URGENCY,
            postgresql_where=text(f"{OPEN_TO_ALL} AND NOT blind"),
        ),
        Index(
            "review_task_seeded",
            "seeded_for",
            "workflow",
            postgresql_where=text("seeded_for IS NOT NULL"),
        ),
        Index(
            "review_task_leases",
            "leased_by",
            "lease_expires_at",
            postgresql_where=text("status = 'open' AND leased_by IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow: Mapped[str]
    item_id: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="open")
    queue: Mapped[str]
    priority: Mapped[int]
    uncertainty: Mapped[float] = mapped_column(comment="1 - confidence; random where blind")
    due_at: Mapped[datetime] = mapped_column(comment="'infinity' where nothing is due")
    blind: Mapped[bool]
    item: Mapped[Json]
    prediction: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    routing: Mapped[Json]
    traceparent: Mapped[str]
    created_at: Mapped[datetime]
    lease_token: Mapped[int] = mapped_column(server_default="0")
    leased_by: Mapped[str | None]
    leased_at: Mapped[datetime | None]
    lease_expires_at: Mapped[datetime | None]
    skipped_by: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    revision: Mapped[int] = mapped_column(server_default="0", comment="decisions made so far")
    decided_at: Mapped[datetime | None]
    round: Mapped[str] = mapped_column(server_default="first", comment="which answer it waits for")
    drawn: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="for a second review, by the hash of its id"
    )
    answers: Mapped[list[Any]] = mapped_column(
        server_default=text("'[]'::jsonb"), comment="answers and flags that stand, oldest first"
    )
    seeded_for: Mapped[str | None] = mapped_column(comment="whose work this known item measures")
    known_label: Mapped[str | None]
    kind: Mapped[str | None] = mapped_column(comment="of the answer; null: label")
    known_answer: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True), comment="what known_label is short for"
    )


BY_URGENCY = tuple(
    getattr(ReviewTask, name).desc() if down else getattr(ReviewTask, name)
    for name, down in DESCENDING.items()
)
"""`order_by`: the order in which tasks are handed out."""


class ReviewDecision(Base):
    """Every key a reviewer pressed, the late ones and the undone ones too."""

    __tablename__ = "review_decision"
    __table_args__ = (
        one_of("action", ACTIONS),
        one_of("round", ROUNDS),
        UniqueConstraint("reviewer", "idempotency_key"),
        Index("review_decision_task", "task_id"),
        Index("review_decision_reviewer", "reviewer", "decided_at"),
        Index("review_decision_newest", "decided_at", "id"),
        Index("review_decision_batch", "batch", postgresql_where=text("batch IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    idempotency_key: Mapped[UUID]
    task_id: Mapped[UUID] = mapped_column(ForeignKey("review_task.id"))
    reviewer: Mapped[str]
    action: Mapped[str]
    label: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(comment="why it was flagged or skipped")
    note: Mapped[str | None]
    lease_token: Mapped[int]
    effective: Mapped[bool] = mapped_column(comment="false: came too late, kept for the record")
    revision: Mapped[int | None] = mapped_column(comment="of the task, where effective")
    ai_label_shown: Mapped[bool]
    assigned_at: Mapped[datetime | None]
    decided_at: Mapped[datetime]
    undone_at: Mapped[datetime | None]
    undo_until: Mapped[datetime | None] = mapped_column(comment="nobody hears of it before")
    round: Mapped[str] = mapped_column(server_default="first")
    seeded: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="about a known item; never published"
    )
    batch: Mapped[UUID | None] = mapped_column(comment="accepted unread, with others of this batch")
    seconds: Mapped[float | None] = mapped_column(comment="of work on it, without idle_seconds")
    idle_seconds: Mapped[float | None] = mapped_column(
        comment="in hand, without a sign of the reviewer; null: unknown"
    )
    answer: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True), comment="what label is short for"
    )


class KnownItem(Base):
    """An item whose right label is known, to be mixed into the work of every reviewer."""

    __tablename__ = "known_item"

    workflow: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str]
    metadata_: Mapped[Json] = mapped_column("metadata")
    label: Mapped[str]
    distribution: Mapped[Json | None] = mapped_column(comment="what the AI is shown to think")
    added_at: Mapped[datetime]
    answer: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True), comment="what label is short for"
    )
    asked: Mapped[Json | None] = mapped_column(
        JSONB(none_as_null=True), comment="draft, candidates, action: what the answer hangs on"
    )


class Highlight(Base):
    """Which words of an item speak for the model's label, and which against: the cache of
    `item.explained`. It may come before its task, and no text is in it."""

    __tablename__ = "highlight"

    workflow: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(comment="for which words are weighed")
    model_version: Mapped[str]
    words: Mapped[list[Any]] = mapped_column(comment="start, end, weight; in code points")
    explained_at: Mapped[datetime]
