"""How long a reviewer worked on an item, and how long it waited before them. Null: unknown, as in
every older row."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    of_work = "of work on it, without idle_seconds"
    op.add_column("review_decision", sa.Column("seconds", sa.Float, comment=of_work))
    idle = "in hand, without a sign of the reviewer; null: unknown"
    op.add_column("review_decision", sa.Column("idle_seconds", sa.Float, comment=idle))


def downgrade() -> None:
    op.drop_column("review_decision", "idle_seconds")
    op.drop_column("review_decision", "seconds")
