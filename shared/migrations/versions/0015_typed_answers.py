"""Answers that are not one label: what they are beside the short line that `label` columns hold.
A task may have no prediction. Null: a label, as in every older row."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

revision = "0015"
down_revision = "0014"

COLUMNS: dict[str, dict[str, tuple[type[TypeEngine[Any]], str]]] = {
    "item": {
        "kind": (sa.String, "of the answer; null: label"),
        "asked": (JSONB, "draft, candidates, action, expires_at: what the answer hangs on"),
        "ai_answer": (JSONB, "what ai_label is short for"),
        "answer": (JSONB, "what final_label is short for"),
    },
    "review_task": {
        "kind": (sa.String, "of the answer; null: label"),
        "known_answer": (JSONB, "what known_label is short for"),
    },
    "review_decision": {"answer": (JSONB, "what label is short for")},
    "known_item": {
        "answer": (JSONB, "what label is short for"),
        "asked": (JSONB, "draft, candidates, action: what the answer hangs on"),
    },
}


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        for name, (kind, comment) in columns.items():
            op.add_column(table, sa.Column(name, kind, comment=comment))
    op.alter_column("review_task", "prediction", nullable=True)


def downgrade() -> None:
    # Older programs know labels only, and read a prediction of every task. What waits for a person
    # is in the log: `hitl rebuild` asks again after the way back, where it knows what about.
    op.execute(
        "DELETE FROM review_decision d USING review_task t"
        " WHERE d.task_id = t.id AND t.kind IS NOT NULL"
    )
    op.execute("DELETE FROM review_task WHERE kind IS NOT NULL")
    op.execute("DELETE FROM known_item WHERE answer IS NOT NULL")  # its short line is no label
    op.alter_column("review_task", "prediction", nullable=False)
    for table, columns in COLUMNS.items():
        for name in columns:
            op.drop_column(table, name)
