"""The tables that the pipeline starts with: every table of `shared.storage.tables`, the triggers
that make `event` append-only, and the view `workflow_log`."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

revision = "0001"
down_revision = None

Time = TIMESTAMP(timezone=True)
Json = JSONB()
Int = sa.BigInteger()
Text = sa.String()


def upgrade() -> None:
    _event()
    _item()
    _review()
    op.create_table(
        "outbox",
        sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("exchange", Text, nullable=False),
        sa.Column("routing_key", Text, nullable=False),
        sa.Column("headers", Json, nullable=False),
        sa.Column("type", Text, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Time, nullable=False, server_default=sa.func.now()),
        sa.Column("not_before", Time, nullable=False),
        sa.Column("published_at", Time),
    )
    op.create_index(
        "outbox_pending", "outbox", ["not_before"], postgresql_where=sa.text("published_at IS NULL")
    )
    op.create_table(
        "reviewer",
        sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
        sa.Column("name", Text, nullable=False, unique=True),
        sa.Column("role", Text, nullable=False),
        sa.Column("password_hash", Text, nullable=False),
        sa.Column("session_epoch", Int, nullable=False, server_default="0"),
        sa.Column("created_at", Time, nullable=False, server_default=sa.func.now()),
        sa.Column("disabled_at", Time),
        sa.CheckConstraint("role IN ('reviewer', 'lead', 'admin')", name="role_known"),
    )
    op.create_table(
        "ledger_block",
        sa.Column("height", Int, primary_key=True),
        sa.Column("first_seq", Int, nullable=False),
        sa.Column("last_seq", Int, nullable=False),
        sa.Column("merkle_root", sa.LargeBinary(), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("created_at", Time, nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "certificate",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("model_version", Text, nullable=False),
        sa.Column("threshold", sa.Numeric()),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("delta", sa.Double(), nullable=False),
        sa.Column("labels", Int, nullable=False),
        sa.Column("errors", Int, nullable=False),
        sa.Column("upper_bound", sa.Double()),
        sa.Column("epoch", Text, nullable=False),
        sa.Column("watermark", Time, nullable=False),
        sa.Column("issued_at", Time, nullable=False),
        sa.Column("evidence", Json, nullable=False),
    )
    op.create_index("certificate_workflow", "certificate", ["workflow", "issued_at"])


def downgrade() -> None:
    op.execute("DROP VIEW workflow_log")
    for table in (
        "certificate",
        "ledger_block",
        "reviewer",
        "outbox",
        "review_decision",
        "review_task",
        "item",
        "event",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION event_is_append_only()")


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("seq", Int, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid(), nullable=False, unique=True),
        sa.Column("type", Text, nullable=False),
        sa.Column("version", Int, nullable=False),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("item_id", Text, nullable=False),
        sa.Column("occurred_at", Time, nullable=False),
        sa.Column("recorded_at", Time, nullable=False, server_default=sa.func.now()),
        sa.Column("source", Text, nullable=False),
        sa.Column("trace_id", Text),
        sa.Column("data", Json, nullable=False),
    )
    op.create_index("event_item", "event", ["workflow", "item_id"])
    op.create_index("event_occurred_at", "event", ["occurred_at"], postgresql_using="brin")
    op.execute("""
        CREATE FUNCTION event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'table "event" is append-only: % refused', TG_OP
                USING ERRCODE = 'restrict_violation',
                      HINT = 'A correction is a new event; a person''s text is erased in "item".';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_rows_stay BEFORE UPDATE OR DELETE ON event
        FOR EACH ROW EXECUTE FUNCTION event_is_append_only()
    """)
    op.execute("""
        CREATE TRIGGER event_is_not_emptied BEFORE TRUNCATE ON event
        FOR EACH STATEMENT EXECUTE FUNCTION event_is_append_only()
    """)


def _item() -> None:
    op.create_table(
        "item",
        sa.Column("workflow", Text, primary_key=True),
        sa.Column("id", Text, primary_key=True),
        sa.Column("text", Text),
        sa.Column("metadata", Json),
        sa.Column("ai_label", Text),
        sa.Column("confidence", sa.Double()),
        sa.Column("distribution", Json),
        sa.Column("status", Text, nullable=False),
        sa.Column("progress", Int, nullable=False),
        sa.Column("status_at", Time, nullable=False, comment="since when the status holds"),
        sa.Column("final_label", Text),
        sa.Column("reviewer", Text),
        sa.Column("model_version", Text),
        sa.Column("policy_version", Text),
        sa.Column("reasons", Json),
        sa.Column("failure", Text),
        sa.Column("trace_id", Text),
        sa.Column("received_at", Time),
        sa.Column("scored_at", Time),
        sa.Column("routed_at", Time),
        sa.Column("reviewed_at", Time),
        sa.Column("updated_at", Time, nullable=False, comment="when this row was last written"),
        sa.CheckConstraint(
            "status IN ('SCORED', 'AI_ACCEPTED', 'HUMAN_REVIEW',"
            " 'HUMAN_ACCEPTED', 'HUMAN_CORRECTED', 'FAILED')",
            name="status_known",
        ),
    )
    op.create_index("item_status", "item", ["workflow", "status"])
    op.create_index("item_updated_at", "item", ["updated_at"])
    op.execute("""
        CREATE VIEW workflow_log (id, input_text, ai_label, confidence, status, reviewer, timestamp)
        AS SELECT id, text, ai_label, confidence, status, reviewer, status_at FROM item
    """)


def _review() -> None:
    op.create_table(
        "review_task",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("workflow", Text, nullable=False),
        sa.Column("item_id", Text, nullable=False),
        sa.Column("status", Text, nullable=False, server_default="open"),
        sa.Column("queue", Text, nullable=False),
        sa.Column("priority", Int, nullable=False),
        sa.Column("uncertainty", sa.Double(), nullable=False, comment="1 - confidence"),
        sa.Column("due_at", Time, nullable=False, comment="'infinity' where nothing is due"),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("item", Json, nullable=False),
        sa.Column("prediction", Json, nullable=False),
        sa.Column("routing", Json, nullable=False),
        sa.Column("traceparent", Text, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("lease_token", Int, nullable=False, server_default="0"),
        sa.Column("leased_by", Text),
        sa.Column("leased_at", Time),
        sa.Column("lease_expires_at", Time),
        sa.Column("skipped_by", Json, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column(
            "revision", Int, nullable=False, server_default="0", comment="decisions made so far"
        ),
        sa.Column("decided_at", Time),
        sa.CheckConstraint("status IN ('open', 'decided', 'flagged')", name="status_known"),
        sa.UniqueConstraint("workflow", "item_id"),
    )
    op.create_index(
        "review_task_next",
        "review_task",
        ["workflow", "due_at", sa.text("priority DESC"), sa.text("uncertainty DESC"), "created_at"],
        postgresql_where=sa.text("status = 'open'"),
    )
    op.create_index(
        "review_task_leases",
        "review_task",
        ["leased_by", "lease_expires_at"],
        postgresql_where=sa.text("status = 'open' AND leased_by IS NOT NULL"),
    )
    op.create_table(
        "review_decision",
        sa.Column("id", Int, sa.Identity(always=True), primary_key=True),
        sa.Column("idempotency_key", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid(), sa.ForeignKey("review_task.id"), nullable=False),
        sa.Column("reviewer", Text, nullable=False),
        sa.Column("action", Text, nullable=False),
        sa.Column("label", Text),
        sa.Column("reason", Text, comment="why it was flagged or skipped"),
        sa.Column("note", Text),
        sa.Column("lease_token", Int, nullable=False),
        sa.Column(
            "effective",
            sa.Boolean(),
            nullable=False,
            comment="false: came too late, kept for the record",
        ),
        sa.Column("revision", Int, comment="of the task, where effective"),
        sa.Column("ai_label_shown", sa.Boolean(), nullable=False),
        sa.Column("assigned_at", Time),
        sa.Column("decided_at", Time, nullable=False),
        sa.Column("undone_at", Time),
        sa.CheckConstraint("action IN ('accept', 'correct', 'skip', 'flag')", name="action_known"),
        sa.UniqueConstraint("reviewer", "idempotency_key"),
    )
    op.create_index("review_decision_task", "review_decision", ["task_id"])
    op.create_index("review_decision_reviewer", "review_decision", ["reviewer", "decided_at"])
