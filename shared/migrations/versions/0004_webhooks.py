"""For webhooks: where to send which events, and what became of each."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0004"
down_revision = "0003"

Time = TIMESTAMP(timezone=True)
Int = sa.BigInteger()
Text = sa.String()


def upgrade() -> None:
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("url", Text, nullable=False),
        sa.Column("workflow", Text, comment="null: all"),
        sa.Column("types", JSONB(), nullable=False, comment="of events, by name"),
        sa.Column("secret", Text, nullable=False),
        sa.Column("previous_secret", Text, comment="signs too, until previous_until"),
        sa.Column("previous_until", Time),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("disabled_at", Time),
        sa.Column("disabled_reason", Text),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "webhook_id",
            sa.Uuid(),
            sa.ForeignKey("webhook.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("body", sa.LargeBinary(), comment="null once delivered"),
        sa.Column("not_before", Time, nullable=False),
        sa.Column("attempts", Int, nullable=False, server_default="0"),
        sa.Column("next_attempt_at", Time),
        sa.Column("last_attempt_at", Time),
        sa.Column("last_status", Int, comment="of HTTP"),
        sa.Column("last_error", Text),
        sa.Column("delivered_at", Time),
        sa.Column("failed_at", Time, comment="no further attempt by itself"),
        sa.UniqueConstraint("webhook_id", "event_id"),
    )
    _index("waiting", ["webhook_id", "next_attempt_at"], "next_attempt_at IS NOT NULL")
    _index("failed", ["webhook_id", "id"], "failed_at IS NOT NULL")
    op.create_index("webhook_delivery_event", "webhook_delivery", ["event_id"])


def downgrade() -> None:
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")


def _index(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        f"webhook_delivery_{name}",
        "webhook_delivery",
        columns,
        postgresql_where=sa.text(where),
    )
