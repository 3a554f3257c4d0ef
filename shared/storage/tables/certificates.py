"""Tables of what was certified about a threshold, and which evidence counts together."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.storage.tables.base import Base, Json, one_of

EPOCH_ENDS = ("drift", "too_old", "new_model", "new_policy")


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
        one_of("ended_by", EPOCH_ENDS),
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
