"""The places and weights of the words that speak for or against the model's label; the words
themselves stay with the item's text."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0005"
down_revision = "0004"

Text = sa.String()


def upgrade() -> None:
    op.create_table(
        "highlight",
        sa.Column("workflow", Text, primary_key=True),
        sa.Column("item_id", Text, primary_key=True),
        sa.Column("label", Text, nullable=False, comment="for which words are weighed"),
        sa.Column("model_version", Text, nullable=False),
        sa.Column("words", JSONB(), nullable=False, comment="start, end, weight; in code points"),
        sa.Column("explained_at", TIMESTAMP(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("highlight")
