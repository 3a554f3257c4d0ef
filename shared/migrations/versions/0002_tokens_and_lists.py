"""For programs that talk to the API: tokens, and indexes for the orders in which lists are read."""

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
    op.create_index(
        "item_received",
        "item",
        [sa.text("coalesce(received_at, '-infinity'::timestamptz)"), "workflow", "id"],
    )
    op.create_index("review_decision_newest", "review_decision", ["decided_at", "id"])


def downgrade() -> None:
    op.drop_index("review_decision_newest", "review_decision")
    op.drop_index("item_received", "item")
    op.drop_table("api_token")
