"""Indexes that find what was sent long ago, and is deleted, without reading whole tables."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_index(
        "outbox_published",
        "outbox",
        ["published_at"],
        postgresql_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "webhook_delivery_delivered",
        "webhook_delivery",
        ["delivered_at"],
        postgresql_where=sa.text("delivered_at IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("webhook_delivery_delivered", "webhook_delivery")
    op.drop_index("outbox_published", "outbox")
