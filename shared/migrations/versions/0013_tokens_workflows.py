"""Limits of tokens: one may be limited to some workflows; null: all."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    comment = "those it is good for; null: all"
    op.add_column("api_token", sa.Column("workflows", JSONB, comment=comment))


def downgrade() -> None:
    # The older release knows no limit: what was good for one workflow must not open all.
    op.execute(
        "UPDATE api_token SET revoked_at = coalesce(revoked_at, now()) WHERE workflows IS NOT NULL"
    )
    op.drop_column("api_token", "workflows")
