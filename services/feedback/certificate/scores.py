"""The models' recent scores, read back from the newest events, never the whole log. What nobody
predicted has none.

A workflow that is lost among busier ones is read by itself, as long as it is small.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

FEW, MANY, MOST = 20_000, 100_000, 500_000  # events looked through; more only if too few are found
GRID_SCORES = (200, 10_000)  # unlabelled scores that a grid is made of: at least, at most
SMALL = 50_000  # events of one workflow that are all read, a second's work
_HEAD = text("SELECT coalesce(max(seq), 0) FROM event")
_RECENT = text(
    """
    SELECT seq, (data #>> '{prediction,confidence}')::float8,
           data #>> '{prediction,model_version}'
    FROM event
    WHERE seq > :after AND type = 'item.scored' AND workflow = :workflow
      AND occurred_at >= :since AND data #>> '{prediction,confidence}' IS NOT NULL
      AND (CAST(:model AS text) IS NULL OR data #>> '{prediction,model_version}' = :model)
    ORDER BY seq DESC LIMIT :most
    """
)
# By the index on (workflow, item_id); what is set apart first keeps the planner from walking back
# through everybody's events.
_SMALL = text(
    "SELECT count(*) FROM (SELECT FROM event WHERE workflow = :workflow LIMIT :most) AS own"
)
_ALL_OWN = text(
    """
    WITH own AS MATERIALIZED (
        SELECT seq, data FROM event
        WHERE workflow = :workflow AND type = 'item.scored' AND occurred_at >= :since
    )
    SELECT seq, (data #>> '{prediction,confidence}')::float8,
           data #>> '{prediction,model_version}'
    FROM own
    WHERE seq > :after AND data #>> '{prediction,confidence}' IS NOT NULL
      AND (CAST(:model AS text) IS NULL OR data #>> '{prediction,model_version}' = :model)
    ORDER BY seq DESC LIMIT :most
    """
)
_EVER = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Score(NamedTuple):
    """One scored item of the log."""

    seq: int
    score: float
    model_version: str


def recent(
    session: Session,
    workflow: str,
    most: int,
    *,
    model_version: str | None = None,
    since: datetime = _EVER,
    after: int = 0,
    look_through: int = MOST,
) -> list[Score]:
    """Up to `most` scores, newest first, of events above `after` that occurred at `since` or later,
    among the newest `look_through` events of all workflows. Where that is `MOST`, those of a small
    workflow are found however old they are."""
    head = int(session.scalar(_HEAD) or 0)
    found: list[Score] = []
    for window in (FEW, MANY, MOST):
        if window > look_through:
            break
        first = max(head - window, after)
        asked = {"workflow": workflow, "since": since, "model": model_version, "most": most}
        counted = {"workflow": workflow, "most": SMALL + 1}
        if window == MOST and (session.scalar(_SMALL, counted) or 0) <= SMALL:
            return [Score(*row) for row in session.execute(_ALL_OWN, {**asked, "after": after})]
        found = [Score(*row) for row in session.execute(_RECENT, {**asked, "after": first})]
        if len(found) >= most or first <= after:
            break
    return found
