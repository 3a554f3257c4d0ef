"""Tables of what happened: the event log and its chain, the items it adds up to, the outbox.

An item's text lives in `item` and `review_task`, and in `outbox` and `webhook_delivery` to be sent:
`event` keeps facts, so that a person's text can be erased while the history of decisions stays
whole.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Identity, Index, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Json, one_of

STATUSES = ("SCORED", "AI_ACCEPTED", "HUMAN_REVIEW", "HUMAN_ACCEPTED", "HUMAN_CORRECTED", "FAILED")


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


class ItemRow(Base):
    """One row per item, the sum of its events, whatever order they arrived in.

    `progress` ranks how far the item has come; an event of lower rank never overwrites what an
    event of higher rank said (services/logger/projection.py).
    """

    __tablename__ = "item"
    __table_args__ = (
        one_of("status", STATUSES),
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
    kind: Mapped[str | None] = mapped_column(comment="of the answer; null: label")
    asked: Mapped[Json | None] = mapped_column(
        comment="draft, candidates, action, expires_at: what the answer hangs on"
    )
    ai_answer: Mapped[Json | None] = mapped_column(comment="what ai_label is short for")
    answer: Mapped[Json | None] = mapped_column(comment="what final_label is short for")


class Outbox(Base):
    """Events that must leave with the commit; the relay publishes them and marks the confirmed."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("outbox_pending", "not_before", postgresql_where=text("published_at IS NULL")),
        Index(
            "outbox_published", "published_at", postgresql_where=text("published_at IS NOT NULL")
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
