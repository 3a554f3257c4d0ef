"""How good is the work of people: do they agree with each other, with the AI, with the truth?

Every count is of answers that stand: they came in time and were not taken back. Known items count
only in the accuracy; elsewhere they would not be the pipeline's own.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.review_ui.agreement import (
    Interval,
    cohens_kappa,
    krippendorffs_alpha,
    percent_agreement,
    wilson,
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two answers on the items that the hash drew; those checked because they differed from the
    AI's would show too little agreement. `percent` is 0..1; None: nothing to compare."""

    workflow: str
    items: int
    percent: float | None
    kappa: float | None
    alpha: float | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A reviewer on known items: `right` of `count`, and the 95 % interval of their accuracy."""

    reviewer: str
    count: int
    right: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class SecondReviews:
    """Of `items` with an answer, how many went to a second person, and to an adjudication."""

    items: int
    second: int
    adjudicated: int

    @property
    def share(self) -> float | None:
        """0..1; None before the first answer."""
        return self.second / self.items if self.items else None


@dataclass(frozen=True, slots=True)
class WithAi:
    """First answers that are the AI's label: seen beside it, and given blind. The difference is
    what seeing it does to people, as far as the items are alike (blind ones are a random sample,
    the others those that the model was unsure of)."""

    shown: Interval | None
    shown_count: int
    blind: Interval | None
    blind_count: int


_STANDING = "d.effective AND d.undone_at IS NULL AND d.label IS NOT NULL"
_PAIRS = text(
    f"""
    SELECT d.task_id, d.round, d.reviewer, d.label
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND t.drawn AND d.decided_at >= :since AND {_STANDING}
      AND NOT d.seeded AND d.round IN ('first', 'second')
    ORDER BY d.task_id, d.id
    """  # noqa: S608 - put together from constants
)
_KNOWN = text(
    f"""
    SELECT d.reviewer, count(*) AS answered,
           count(*) FILTER (WHERE d.label = t.known_label) AS right
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND d.decided_at >= :since AND {_STANDING} AND d.seeded
    GROUP BY d.reviewer ORDER BY d.reviewer
    """  # noqa: S608 - put together from constants
)
_ROUNDS = text(
    f"""
    SELECT count(DISTINCT d.task_id) AS items,
           count(DISTINCT d.task_id) FILTER (WHERE d.round = 'second') AS second,
           count(DISTINCT d.task_id) FILTER (
               WHERE d.round = 'adjudication'
                 AND EXISTS (SELECT FROM review_decision s
                             WHERE s.task_id = d.task_id AND s.round = 'second'
                               AND s.effective AND s.undone_at IS NULL AND s.label IS NOT NULL)
           ) AS adjudicated
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND d.decided_at >= :since AND {_STANDING} AND NOT d.seeded
    """  # noqa: S608 - put together from constants
)
_WITH_AI = text(
    f"""
    SELECT d.ai_label_shown AS shown, count(*) AS answered,
           count(*) FILTER (WHERE d.label = t.prediction ->> 'label') AS same
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND d.decided_at >= :since AND {_STANDING}
      AND NOT d.seeded AND d.round = 'first'
    GROUP BY d.ai_label_shown
    """  # noqa: S608 - put together from constants
)


def agreement(session: Session, workflow: str, since: datetime) -> Agreement:
    """How well two people agree on the same items."""
    by_task: dict[object, dict[str, str]] = defaultdict(dict)
    for row in session.execute(_PAIRS, {"workflow": workflow, "since": since}):
        by_task[row.task_id][row.round] = row.label
    pairs = [(labels["first"], labels["second"]) for labels in by_task.values() if len(labels) == 2]
    return Agreement(
        workflow=workflow,
        items=len(pairs),
        percent=percent_agreement(pairs),
        kappa=cohens_kappa(pairs),
        alpha=krippendorffs_alpha(pairs),
    )


def accuracy(session: Session, workflow: str, since: datetime) -> list[Accuracy]:
    """Each reviewer's accuracy on known items, by name."""
    rows = session.execute(_KNOWN, {"workflow": workflow, "since": since})
    return [
        Accuracy(row.reviewer, row.answered, row.right, wilson(row.right, row.answered))
        for row in rows
    ]


def second_reviews(session: Session, workflow: str, since: datetime) -> SecondReviews:
    """How much of the work is done twice, and how much of that is disputed."""
    row = session.execute(_ROUNDS, {"workflow": workflow, "since": since}).one()
    return SecondReviews(items=row.items, second=row.second, adjudicated=row.adjudicated)


def with_ai(session: Session, workflow: str, since: datetime) -> WithAi:
    """How often people give the AI's label, with it in sight and without. For leads: a reviewer
    could read from the blind share what the AI said of their own last answer."""
    counts = {True: (0, 0), False: (0, 0)}
    for row in session.execute(_WITH_AI, {"workflow": workflow, "since": since}):
        counts[row.shown] = (row.same, row.answered)
    return WithAi(
        shown=wilson(*counts[True]),
        shown_count=counts[True][1],
        blind=wilson(*counts[False]),
        blind_count=counts[False][1],
    )
