"""Shows how many tasks there are, overdue, or waiting for a second person who is not there."""

from datetime import datetime

from sqlalchemy import Engine, text

from shared.service.metrics import NOBODY_LEFT_TASKS, REVIEW_TASKS, TASKS_OVERDUE
from shared.storage.tables.review import TASK_STATUSES
from shared.storage.waiting_tasks import COUNT_NOBODY_LEFT

_COUNT = text("""
    SELECT workflow, status, count(*), count(*) FILTER (WHERE due_at < :now)
    FROM review_task WHERE seeded_for IS NULL GROUP BY 1, 2
""")


def count_tasks(engine: Engine, now: datetime) -> None:
    """Sets the gauges to what the tables hold; those of a workflow without tasks stay away."""
    with engine.connect() as connection:
        rows = connection.execute(_COUNT, {"now": now}).all()
        stuck = {row[0]: row[1] for row in connection.execute(text(COUNT_NOBODY_LEFT))}
    found = {(row[0], row[1]): row[2] for row in rows}
    overdue = {row[0]: row[3] for row in rows if row[1] == "open"}
    for workflow in {workflow for workflow, _ in found}:
        for status in TASK_STATUSES:
            REVIEW_TASKS.labels(workflow, status).set(found.get((workflow, status), 0))
        NOBODY_LEFT_TASKS.labels(workflow).set(stuck.get(workflow, 0))
        TASKS_OVERDUE.labels(workflow).set(overdue.get(workflow, 0))
