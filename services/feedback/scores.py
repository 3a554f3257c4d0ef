"""Which scores did the models give lately? From the newest events back, never the whole log."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

FEW, MANY, MOST = 20_000, 100_000, 500_000  # events looked through; more only if too few are found
_HEAD = text("SELECT coalesce(max(seq), 0) FROM event")
_RECENT = text(
    """
    SELECT seq, (data #>> '{prediction,confidence}')::float8,
           data #>> '{prediction,model_version}'
    FROM event
    WHERE seq > :after AND type = 'item.scored' AND workflow = :workflow
      AND occurred_at >= :since
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
    among the newest `look_through` events of all workflows."""
    head = int(session.scalar(_HEAD) or 0)
    found: list[Score] = []
    for window in (FEW, MANY, MOST):
        if window > look_through:
            break
        first = max(head - window, after)
        asked = {"after": first, "workflow": workflow, "since": since, "model": model_version}
        found = [Score(*row) for row in session.execute(_RECENT, {**asked, "most": most})]
        if len(found) >= most or first <= after:
            break
    return found
