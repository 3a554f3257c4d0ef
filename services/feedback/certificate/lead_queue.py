"""What waits for a lead, and since when? No audit counts that was routed after a disputed one.

Pure: `hitl status` asks it without SQLAlchemy.
"""

FOR_LEADS = """
    SELECT task.workflow, count(*), min(coalesce(answered.last, task.created_at))
    FROM review_task AS task
    CROSS JOIN LATERAL (
        SELECT max(decided_at) AS last FROM review_decision
        WHERE task_id = task.id AND undone_at IS NULL
    ) AS answered
    WHERE task.status <> 'decided' AND task.round = 'adjudication' AND task.seeded_for IS NULL
    GROUP BY task.workflow
"""
"""Workflow, tasks that people disagree about or flagged, and when the first came to be one."""
