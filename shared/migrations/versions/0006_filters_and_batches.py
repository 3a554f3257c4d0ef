"""For filters and batches: an index by the AI's label, which decision belongs to which
batch, and an order of blind tasks that says nothing about the AI's confidence."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index(
        "review_task_label",
        "review_task",
        [
            "workflow",
            sa.text("(prediction ->> 'label')"),
            "due_at",
            sa.text("priority DESC"),
            sa.text("uncertainty DESC"),
            "created_at",
        ],
        postgresql_where=sa.text(
            "status = 'open' AND round <> 'adjudication' AND seeded_for IS NULL AND NOT blind"
        ),
    )
    op.add_column(
        "review_decision",
        sa.Column("batch", sa.Uuid(), comment="accepted unread, with others of this batch"),
    )
    op.create_index(
        "review_decision_batch",
        "review_decision",
        ["batch"],
        postgresql_where=sa.text("batch IS NOT NULL"),
    )
    _uncertainty("1 - confidence; random where blind", "1 - confidence")
    op.execute("UPDATE review_task SET uncertainty = random() WHERE blind AND status = 'open'")


def downgrade() -> None:
    op.drop_index("review_decision_batch", "review_decision")
    op.drop_column("review_decision", "batch")
    op.drop_index("review_task_label", "review_task")
    _uncertainty("1 - confidence", "1 - confidence; random where blind")
    op.execute(
        "UPDATE review_task SET uncertainty = 1 - CAST(prediction ->> 'confidence' AS float)"
        " WHERE blind"
    )


def _uncertainty(means: str, meant: str) -> None:
    op.alter_column(
        "review_task",
        "uncertainty",
        existing_type=sa.Float(),
        existing_nullable=False,
        comment=means,
        existing_comment=meant,
    )
