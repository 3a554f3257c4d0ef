"""Limits of reviewers: one may be limited to some of them; null: all are theirs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    comment = "those they review; null: all"
    op.add_column("reviewer", sa.Column("workflows", JSONB, comment=comment))


def downgrade() -> None:
    op.drop_column("reviewer", "workflows")
