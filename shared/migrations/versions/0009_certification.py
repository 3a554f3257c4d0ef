"""For the certifier: the epochs of each workflow: one open at a time, grid frozen."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "certification_epoch",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("workflow", sa.String(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column(
            "population",
            sa.String(),
            nullable=False,
            comment="digest of labels, rules and terms (services/router/policy.py)",
        ),
        sa.Column("started_at", TIMESTAMP(timezone=True), nullable=False),
        sa.Column(
            "frozen_at",
            TIMESTAMP(timezone=True),
            comment="of the grid: only what is routed later counts",
        ),
        sa.Column("grid", JSONB(), comment="thresholds and coverage, strict to loose"),
        sa.Column("first_scores", JSONB(), comment="of the epoch, to compare later ones with"),
        sa.Column("first_scores_seq", sa.BigInteger(), comment="the last event among them"),
        sa.Column("warned_at", TIMESTAMP(timezone=True), comment="the newest early warning"),
        sa.Column("warning", sa.String()),
        sa.Column("ended_at", TIMESTAMP(timezone=True)),
        sa.Column("ended_by", sa.String(), comment="drift, too_old, new_model or new_policy"),
        sa.Column("ended_reason", sa.String(), comment="in words"),
        sa.CheckConstraint(
            "ended_by IN ('drift', 'too_old', 'new_model', 'new_policy')", name="ended_by_known"
        ),
    )
    op.create_index(
        "certification_epoch_open",
        "certification_epoch",
        ["workflow"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "certification_epoch_workflow", "certification_epoch", ["workflow", "started_at"]
    )


def downgrade() -> None:
    op.drop_table("certification_epoch")
