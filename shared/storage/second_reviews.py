"""What waits for a second person when there is none? Asked by the review service, and by
`hitl status` without SQLAlchemy."""

NOBODY_LEFT = """
    SELECT task.workflow, count(*), min(coalesce(answered.last, task.created_at))
    FROM review_task AS task
    CROSS JOIN LATERAL (
        SELECT max(decided_at) AS last FROM review_decision
        WHERE task_id = task.id AND undone_at IS NULL
    ) AS answered
    WHERE task.status = 'open' AND task.round = 'second' AND task.seeded_for IS NULL
      AND NOT EXISTS (
          SELECT FROM (
              SELECT name, workflows FROM reviewer WHERE disabled_at IS NULL
              UNION ALL
              SELECT 'token:' || name, workflows FROM api_token
              WHERE revoked_at IS NULL AND coalesce(expires_at > now(), true)
                AND scopes @> '["tasks:write"]'
          ) AS person
          WHERE coalesce(person.workflows @> to_jsonb(task.workflow), true)
            AND NOT task.answers @> jsonb_build_array(jsonb_build_object('reviewer', person.name))
      )
    GROUP BY task.workflow
"""
"""Workflow, tasks of which everybody who may answer has answered already, and since when."""
