"""Which review tasks wait for whom, and in which order: the rules in SQL, beside their table.

Without SQLAlchemy, because `hitl status` has none; `tables/review.py` makes the indexes of them.
"""

DESCENDING = {"due_at": False, "priority": True, "uncertainty": True, "created_at": False}
"""The columns of the order of urgency, and which of them run down. Blind tasks have a random
uncertainty."""
URGENCY = ", ".join(f"{name} DESC" if down else name for name, down in DESCENDING.items())
"""`ORDER BY`: in which order tasks are handed out, within a workflow."""

# Gold items, which only measure a reviewer, are never among them.
OPEN_TO_ALL = "status = 'open' AND round <> 'adjudication' AND seeded_for IS NULL"
FOR_LEADS = "status <> 'decided' AND round = 'adjudication' AND seeded_for IS NULL"
"""People disagree about them, or flagged them."""

_WAITING = """
    SELECT task.workflow, count(*), min(coalesce(answered.last, task.created_at))
    FROM review_task AS task
    CROSS JOIN LATERAL (
        SELECT max(decided_at) AS last FROM review_decision
        WHERE task_id = task.id AND undone_at IS NULL
    ) AS answered
    WHERE {condition}
    GROUP BY task.workflow
"""
COUNT_FOR_LEADS = _WAITING.format(condition=FOR_LEADS)
"""Workflow, tasks that only a lead can settle, and when the first came to be one. No audit counts
that was routed after a disputed one."""
COUNT_NOBODY_LEFT = _WAITING.format(
    condition=f"""{OPEN_TO_ALL} AND round = 'second' AND NOT EXISTS (
        SELECT FROM (
            SELECT name, workflows FROM reviewer WHERE disabled_at IS NULL
            UNION ALL
            SELECT 'token:' || name, workflows FROM api_token
            WHERE revoked_at IS NULL AND coalesce(expires_at > now(), true)
              AND scopes @> '["tasks:write"]'
        ) AS person
        WHERE coalesce(person.workflows @> to_jsonb(task.workflow), true)
          AND NOT task.answers @> jsonb_build_array(jsonb_build_object('reviewer', person.name))
    )"""  # noqa: S608 - put together from constants
)
"""Workflow, tasks of which everybody who may answer has answered already, and since when."""
