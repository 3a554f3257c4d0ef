"""For those who run the pipeline and need no text: views in a schema of their own, which
are all that Grafana's role may read (hitl/access/database_roles.py)."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS report")
    op.execute("""
        CREATE VIEW report.item AS
        SELECT workflow, id, status, status_at, ai_label, confidence, final_label, reviewer,
               model_version, policy_version, reasons, failure, trace_id, received_at, scored_at,
               routed_at, reviewed_at, erased_at
        FROM item
    """)
    op.execute("""
        CREATE VIEW report.review_task AS
        SELECT id, workflow, item_id, status, round, queue, priority, blind, created_at,
               nullif(due_at, 'infinity') AS due_at, leased_by, lease_expires_at, decided_at
        FROM review_task WHERE seeded_for IS NULL
    """)
    op.execute("""
        CREATE VIEW report.review_decision AS
        SELECT d.id, t.workflow, t.item_id, d.reviewer, d.action, d.label, d.round, d.effective,
               d.ai_label_shown, d.assigned_at, d.decided_at, d.undone_at
        FROM review_decision d JOIN review_task t ON t.id = d.task_id WHERE NOT d.seeded
    """)
    op.execute("""
        CREATE VIEW report.certificate AS
        SELECT id, workflow, model_version, threshold, alpha, delta, labels, errors, upper_bound,
               epoch, watermark, issued_at
        FROM certificate
    """)
    op.execute("""
        CREATE VIEW report.ledger_block AS
        SELECT height, count, first_seq, last_seq, encode(block_hash, 'hex') AS block_hash,
               created_at
        FROM ledger_block
    """)


def downgrade() -> None:
    op.execute("DROP SCHEMA report CASCADE")
