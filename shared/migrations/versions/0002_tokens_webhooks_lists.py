"""What do programs need that talk to the API? Tokens, webhooks with their deliveries, and indexes
for the orders in which lists are read."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0002"
down_revision = "0001"

Time = TIMESTAMP(timezone=True)
Int = sa.BigInteger()
Text = sa.String()


def upgrade() -> None:
    op.create_table(
        "api_token",
        sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
        sa.Column("name", Text, nullable=False, unique=True),
        sa.Column("prefix", Text, nullable=False, comment="how it begins, to tell it from others"),
        sa.Column("hash", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("scopes", JSONB(), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("expires_at", Time),
        sa.Column("revoked_at", Time),
        sa.Column("last_used_at", Time, comment="to the minute"),
    )
    _webhooks()
    op.create_index(
        "item_received",
        "item",
        [sa.text("coalesce(received_at, '-infinity'::timestamptz)"), "workflow", "id"],
    )
    op.create_index("review_decision_newest", "review_decision", ["decided_at", "id"])


def downgrade() -> None:
    op.drop_index("review_decision_newest", "review_decision")
    op.drop_index("item_received", "item")
    op.drop_table("webhook_delivery")
    op.drop_table("webhook")
    op.drop_index("outbox_webhooks", "outbox")
    op.drop_column("outbox", "webhooks_at")
    op.drop_table("api_token")


def _webhooks() -> None:
    op.add_column(
        "outbox",
        sa.Column("webhooks_at", Time, comment="since when each webhook has its delivery"),
    )
    op.execute("UPDATE outbox SET webhooks_at = now()")  # no webhook was there to hear of these
    op.create_index(
        "outbox_webhooks",
        "outbox",
        ["id"],
        postgresql_where=sa.text("published_at IS NOT NULL AND webhooks_at IS NULL"),
    )
    op.create_table(
        "webhook",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("url", Text, nullable=False),
        sa.Column("workflow", Text, comment="NULL: all"),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", Text, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("disabled_at", Time, comment="it answered 410 Gone"),
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
        sa.Column(
            "outbox_id",
            Int,
            sa.ForeignKey("outbox.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("status", Text, nullable=False, server_default="pending"),
        sa.Column("attempts", Int, nullable=False, server_default="0"),
        sa.Column("next_attempt_at", Time, nullable=False),
        sa.Column("answered", Int, comment="HTTP status of the last attempt"),
        sa.Column("problem", Text, comment="what went wrong with it"),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("delivered_at", Time),
        sa.CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status_known"),
        sa.UniqueConstraint("webhook_id", "outbox_id"),
    )
    op.create_index(
        "webhook_delivery_due",
        "webhook_delivery",
        ["webhook_id", "next_attempt_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
