"""For the certifier, which reads the audit panel out of a large log: an index of its events,
which are few: what the machine alone decided is not among them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index(
        "event_panel",
        "event",
        ["workflow", "occurred_at"],
        postgresql_where=sa.text(
            "type IN ('item.review_requested', 'item.reviewed')"
            " AND coalesce(data #>> '{routing,sampling,on_panel}',"
            " data #>> '{decision,sampling,on_panel}') = 'true'"
        ),
    )


def downgrade() -> None:
    op.drop_index("event_panel", "event")
