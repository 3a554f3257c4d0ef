"""Which tables hold what?

The schema as SQLAlchemy sees it; `shared/migrations` creates it. An item's text lives in `item` and
`review_task`, and in `outbox` and `webhook_delivery` to be sent: `event` keeps facts, so that a
person's text can be erased while the history of decisions stays whole.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]

STATUSES = (
    "SCORED",
    "AI_ACCEPTED",
    "HUMAN_REVIEW",
    "HUMAN_ACCEPTED",
    "HUMAN_CORRECTED",
    "FAILED",
)
TASK_STATUSES = ("open", "decided", "flagged")
ACTIONS = ("accept", "correct", "skip", "flag")
ROUNDS = ("first", "second", "adjudication")
EPOCH_ENDS = ("drift", "too_old", "new_model", "new_policy")
ROLES = ("reviewer", "lead", "admin")


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: TIMESTAMP(timezone=True),
        Json: JSONB,
        list[Any]: JSONB,
        int: BigInteger,
    }


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


# In which order tasks are handed out, within a workflow.
_URGENCY = ("workflow", "due_at", text("priority DESC"), text("uncertainty DESC"), "created_at")


class EventRow(Base):
    """Append-only: triggers refuse UPDATE, DELETE and TRUNCATE.

    `data` is the event's JSON without the item's text and metadata. `seq` grows in the order of
    writing, with gaps, and two loggers at once may commit theirs out of order.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index("event_item", "workflow", "item_id"),
        Index("event_occurred_at", "occurred_at", postgresql_using="brin"),
        Index(
            "event_panel",
            "workflow",
            "occurred_at",
            postgresql_where=text(
                "type IN ('item.review_requested', 'item.reviewed')"
                " AND coalesce(data #>> '{routing,sampling,on_panel}',"
                " data #>> '{decision,sampling,on_panel}') = 'true'"
            ),
        ),
    )

    seq: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    type: Mapped[str]
    version: Mapped[int]
    workflow: Mapped[str]
    item_id: Mapped[str]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.now())
    source: Mapped[str]
    trace_id: Mapped[str | None]
    data: Mapped[Json]
    text_commitment: Mapped[bytes | None] = mapped_column(
        LargeBinary, comment="to the text it brought, salted"
    )


class ItemRow(Base):
    """One row per item, the sum of its events, whatever order they arrived in.

    `progress` ranks how far the item has come; an event of lower rank never overwrites what an
    event of higher rank said (services/logger/projection.py).
    """

    __tablename__ = "item"
    __table_args__ = (
        _one_of("status", STATUSES),
        Index("item_status", "workflow", "status"),
        Index("item_updated_at", "updated_at"),
        Index(
            "item_received",
            text("coalesce(received_at, '-infinity'::timestamptz)"),
            "workflow",
            "id",
        ),
    )

    workflow: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    text: Mapped[str | None]
    metadata_: Mapped[Json | None] = mapped_column("metadata")
    ai_label: Mapped[str | None]
    confidence: Mapped[float | None]
    distribution: Mapped[Json | None]
    status: Mapped[str]
    progress: Mapped[int]
    status_at: Mapped[datetime] = mapped_column(comment="since when the status holds")
    final_label: Mapped[str | None]
    reviewer: Mapped[str | None]
    model_version: Mapped[str | None]
    policy_version: Mapped[str | None]
    reasons: Mapped[list[Any] | None]
    failure: Mapped[str | None]
    trace_id: Mapped[str | None]
    received_at: Mapped[datetime | None]
    scored_at: Mapped[datetime | None]
    routed_at: Mapped[datetime | None]
    reviewed_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(comment="when this row was last written")
    text_salts: Mapped[bytes | None] = mapped_column(
        LargeBinary, deferred=True, comment="event id and salt of each commitment"
    )
    erased_at: Mapped[datetime | None]


class ReviewTask(Base):
    """A question to a person.

    A lease is (`lease_token`, `leased_by`, `lease_expires_at`); the token only grows, so that
    whoever comes back after the lease has expired is recognised (fencing).
    """

    __tablename__ = "review_task"
    __table_args__ = (
        _one_of("status", TASK_STATUSES),
        _one_of("round", ROUNDS),
        # One task an item; a known item has one for each reviewer.
        Index(
            "review_task_item",
            "workflow",
            "item_id",
            unique=True,
            postgresql_where=text("seeded_for IS NULL"),
        ),
        Index(
            "review_task_next",
            *_URGENCY,
            postgresql_where=text(
                "status = 'open' AND round <> 'adjudication' AND seeded_for IS NULL"
            ),
        ),
        Index(
            "review_task_leads",
            *_URGENCY,
            postgresql_where=text(
                "status <> 'decided' AND round = 'adjudication' AND seeded_for IS NULL"
            ),
        ),
        Index(
            "review_task_label",
            "workflow",
            text("(prediction ->> 'label')"),
            *_URGENCY[1:],
            postgresql_where=text(
                "status = 'open' AND round <> 'adjudication' AND seeded_for IS NULL AND NOT blind"
            ),
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
    prediction: Mapped[Json]
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


class ReviewDecision(Base):
    """Every key a reviewer pressed, the late ones and the undone ones too."""

    __tablename__ = "review_decision"
    __table_args__ = (
        _one_of("action", ACTIONS),
        _one_of("round", ROUNDS),
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


class Outbox(Base):
    """Events that must leave with the commit; the relay publishes them and marks the confirmed."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_pending", "not_before", postgresql_where=text("published_at IS NULL")),
        Index(
            "outbox_published",
            "published_at",
            postgresql_where=text("published_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[UUID] = mapped_column(unique=True)
    exchange: Mapped[str]
    routing_key: Mapped[str]
    headers: Mapped[Json]
    type: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    not_before: Mapped[datetime]
    published_at: Mapped[datetime | None]


class Reviewer(Base):
    """Somebody who may log in. `session_epoch` grows to end every open session of theirs."""

    __tablename__ = "reviewer"
    __table_args__ = (_one_of("role", ROLES),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    password_hash: Mapped[str]
    session_epoch: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]
    workflows: Mapped[list[Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="those they review; null: all"
    )


class ApiToken(Base):
    """A program that may call the API. `hash`: SHA-256 of the token, which nobody keeps."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    prefix: Mapped[str] = mapped_column(comment="how it begins, to tell it from others")
    hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None] = mapped_column(comment="to the minute")
    workflows: Mapped[list[Any] | None] = mapped_column(
        JSONB(none_as_null=True), comment="those it is good for; null: all"
    )


class Webhook(Base):
    """Where another program wants to hear of events. `secret` signs, so it is kept as it is."""

    __tablename__ = "webhook"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    workflow: Mapped[str | None] = mapped_column(comment="null: all")
    types: Mapped[list[Any]] = mapped_column(comment="of events, by name")
    secret: Mapped[str]
    previous_secret: Mapped[str | None] = mapped_column(comment="signs too, until previous_until")
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]


class WebhookDelivery(Base):
    """One event on its way to one webhook. `next_attempt_at`: null once delivered or given up."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        Index(
            "webhook_delivery_waiting",
            "webhook_id",
            "next_attempt_at",
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
        Index(
            "webhook_delivery_failed",
            "webhook_id",
            "id",
            postgresql_where=text("failed_at IS NOT NULL"),
        ),
        Index("webhook_delivery_event", "event_id"),
        Index(
            "webhook_delivery_delivered",
            "delivered_at",
            postgresql_where=text("delivered_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event_id: Mapped[UUID]
    type: Mapped[str]
    body: Mapped[bytes | None] = mapped_column(LargeBinary, comment="null once delivered")
    not_before: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default="0")
    next_attempt_at: Mapped[datetime | None]
    last_attempt_at: Mapped[datetime | None]
    last_status: Mapped[int | None] = mapped_column(comment="of HTTP")
    last_error: Mapped[str | None]
    delivered_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None] = mapped_column(comment="no further attempt by itself")


class LedgerBlock(Base):
    """A committed batch of events: the root of its Merkle tree, chained to the block before.
    Append-only like `event`; what is hashed: services/logger/ledger.py."""

    __tablename__ = "ledger_block"

    height: Mapped[int] = mapped_column(primary_key=True)
    first_seq: Mapped[int]
    last_seq: Mapped[int]
    merkle_root: Mapped[bytes] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes] = mapped_column(LargeBinary)
    block_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    count: Mapped[int]
    leaves: Mapped[bytes] = mapped_column(
        LargeBinary, comment="event id and hash of each, in order"
    )


class Certificate(Base):
    """What was certified about a workflow's threshold, on which evidence."""

    __tablename__ = "certificate"
    __table_args__ = (Index("certificate_workflow", "workflow", "issued_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow: Mapped[str]
    model_version: Mapped[str]
    threshold: Mapped[Decimal | None]
    alpha: Mapped[float]
    delta: Mapped[float]
    labels: Mapped[int]
    errors: Mapped[int]
    upper_bound: Mapped[float | None]
    epoch: Mapped[str]
    watermark: Mapped[datetime]
    issued_at: Mapped[datetime]
    evidence: Mapped[Json]


class CertificationEpoch(Base):
    """For how long evidence about a workflow's model may be counted together. One is open."""

    __tablename__ = "certification_epoch"
    __table_args__ = (
        _one_of("ended_by", EPOCH_ENDS),
        Index(
            "certification_epoch_open",
            "workflow",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("certification_epoch_workflow", "workflow", "started_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workflow: Mapped[str]
    model_version: Mapped[str]
    population: Mapped[str] = mapped_column(
        comment="digest of labels, rules and terms (services/router/policy.py)"
    )
    started_at: Mapped[datetime]
    frozen_at: Mapped[datetime | None] = mapped_column(
        comment="of the grid: only what is routed later counts"
    )
    grid: Mapped[Json | None] = mapped_column(comment="thresholds and coverage, strict to loose")
    first_scores: Mapped[list[Any] | None] = mapped_column(
        comment="of the epoch, to compare later ones with"
    )
    first_scores_seq: Mapped[int | None] = mapped_column(comment="the last event among them")
    warned_at: Mapped[datetime | None] = mapped_column(comment="the newest early warning")
    warning: Mapped[str | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(comment="drift, too_old, new_model or new_policy")
    ended_reason: Mapped[str | None] = mapped_column(comment="in words")
