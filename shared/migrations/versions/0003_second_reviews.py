"""For second reviews and gold items: the round of a task and of a decision, the answers so far,
whose gold item it is; and an index by which each pool of tasks is read from its head."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0003"
down_revision = "0002"

Time = TIMESTAMP(timezone=True)
Text = sa.String()
URGENCY = [
    "workflow",
    "due_at",
    sa.text("priority DESC"),
    sa.text("uncertainty DESC"),
    "created_at",
]
ROUND_KNOWN = "round IN ('first', 'second', 'adjudication')"


def upgrade() -> None:
    _columns()
    # A flagged task goes to the leads.
    op.execute("UPDATE review_task SET round = 'adjudication' WHERE status = 'flagged'")
    op.drop_constraint("review_task_workflow_item_id_key", "review_task")
    _index("item", ["workflow", "item_id"], "seeded_for IS NULL", unique=True)
    op.drop_index("review_task_next", "review_task")
    _index("next", URGENCY, "status = 'open' AND round <> 'adjudication' AND seeded_for IS NULL")
    _index(
        "leads", URGENCY, "status <> 'decided' AND round = 'adjudication' AND seeded_for IS NULL"
    )
    _index("seeded", ["seeded_for", "workflow"], "seeded_for IS NOT NULL")
    op.create_table(
        "known_item",
        sa.Column("workflow", Text, primary_key=True),
        sa.Column("item_id", Text, primary_key=True),
        sa.Column("text", Text, nullable=False),
        sa.Column("metadata", JSONB(), nullable=False),
        sa.Column("label", Text, nullable=False),
        sa.Column("distribution", JSONB(), comment="what the AI is shown to think"),
        sa.Column("added_at", Time, nullable=False),
    )


def downgrade() -> None:
    op.execute("DELETE FROM review_decision WHERE seeded")
    op.execute("DELETE FROM review_task WHERE seeded_for IS NOT NULL")
    op.drop_table("known_item")
    for name in ("item", "next", "leads", "seeded"):
        op.drop_index(f"review_task_{name}", "review_task")
    for name in ("round", "seeded", "undo_until"):
        op.drop_column("review_decision", name)
    for name in ("round", "drawn", "answers", "seeded_for", "known_label"):
        op.drop_column("review_task", name)
    op.create_unique_constraint(
        "review_task_workflow_item_id_key", "review_task", ["workflow", "item_id"]
    )
    _index("next", URGENCY, "status = 'open'")


def _columns() -> None:
    no = sa.text("false")
    for column in (
        sa.Column(
            "round",
            Text,
            nullable=False,
            server_default="first",
            comment="which answer it waits for",
        ),
        sa.Column(
            "drawn",
            sa.Boolean(),
            nullable=False,
            server_default=no,
            comment="for a second review, by the hash of its id",
        ),
        sa.Column(
            "answers",
            JSONB(),
            nullable=False,
            server_default=sa.text("'[]'::jsonb"),
            comment="answers and flags that stand, oldest first",
        ),
        sa.Column("seeded_for", Text, comment="whose work this known item measures"),
        sa.Column("known_label", Text),
    ):
        op.add_column("review_task", column)
    op.create_check_constraint("round_known", "review_task", ROUND_KNOWN)
    for mark in (
        sa.Column("undo_until", Time, comment="nobody hears of it before"),
        sa.Column("round", Text, nullable=False, server_default="first"),
        sa.Column(
            "seeded",
            sa.Boolean(),
            nullable=False,
            server_default=no,
            comment="about a known item; never published",
        ),
    ):
        op.add_column("review_decision", mark)
    op.create_check_constraint("round_known", "review_decision", ROUND_KNOWN)


def _index(name: str, columns: list[object], where: str, *, unique: bool = False) -> None:
    op.create_index(
        f"review_task_{name}",
        "review_task",
        columns,  # type: ignore[arg-type]  # names and expressions mixed
        unique=unique,
        postgresql_where=sa.text(where),
    )
