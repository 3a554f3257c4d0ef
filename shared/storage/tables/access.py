"""Tables of who may call: people, programs; and of the webhooks that call programs back."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Identity, Index, LargeBinary, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, one_of

ROLES = ("reviewer", "lead", "admin")


class Reviewer(Base):
    """Somebody who may log in. `session_epoch` grows to end every open session of theirs."""

    __tablename__ = "reviewer"
    __table_args__ = (one_of("role", ROLES),)

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
