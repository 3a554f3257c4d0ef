"""Who has how many tasks in hand, and how a lead gives them back to everybody."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.review_ui.tasks.decide import NOBODY, Refused

_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('claim ' || :reviewer, 0))")
_HELD = text(
    """
    SELECT count(*) FROM review_task
    WHERE status = 'open' AND leased_by = :reviewer AND lease_expires_at > :now
    """
)
_HOLDERS = text(
    """
    SELECT leased_by AS reviewer, count(*) AS tasks, max(lease_expires_at) AS until
    FROM review_task
    WHERE status = 'open' AND leased_by <> :nobody AND lease_expires_at > :now
      AND workflow = ANY(:workflows)
    GROUP BY leased_by ORDER BY count(*) DESC, leased_by
    """
)
_TAKE_BACK = text(
    """
    UPDATE review_task SET leased_by = NULL, leased_at = NULL, lease_expires_at = NULL
    WHERE status = 'open' AND leased_by = :reviewer AND workflow = ANY(:workflows)
    RETURNING id
    """
)


class Holder(BaseModel):
    reviewer: str
    tasks: int = Field(description="in hand just now")
    until: datetime = Field(description="the last of these leases ends, unless it is extended")


def may_claim(session: Session, reviewer: str, count: int, most: int, now: datetime) -> int:
    """How many of `count` the reviewer may be leased, who may hold `most`. Two claims of one
    reviewer wait for each other, or together they would get more.

    Raises:
        Refused: `holds_enough`; none.
    """
    session.execute(_ALONE, {"reviewer": reviewer})
    held = session.scalar(_HELD, {"reviewer": reviewer, "now": now}) or 0
    if held >= most:
        raise Refused(
            "holds_enough",
            f"You hold {held} tasks, and the limit is {most} (HITL_MAX_HELD_TASKS): decide or "
            "release some first.",
        )
    return min(count, most - int(held))


def holders(session: Session, workflows: Sequence[str], now: datetime) -> list[Holder]:
    """Everybody who has tasks in hand, who has most first."""
    given = {"nobody": NOBODY, "workflows": list(workflows), "now": now}
    return [Holder(**row._mapping) for row in session.execute(_HOLDERS, given)]


def take_back(session: Session, reviewer: str, workflows: Sequence[str]) -> int:
    """Gives all that the reviewer has in hand back to everybody; how many. What they decide about
    one of these later is on record and does not count."""
    given = {"reviewer": reviewer, "workflows": list(workflows)}
    return len(session.execute(_TAKE_BACK, given).all())
