"""Quality of people's work: agreement with each other, with the AI, with the truth.

Every count is of answers that stand: they came in time and were not taken back. Gold items count
only in the accuracy; elsewhere they would not be the pipeline's own.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.review_ui.reports.agreement import agreed_by_habit, agreed_by_pool, beyond_chance
from services.review_ui.reports.measures import preferences
from services.review_ui.reports.measures.by_kind import MEASURED
from services.review_ui.reports.measures.figures import Figure, Pair
from shared.answers.base import Kind
from shared.answers.reading import KIND_NAMES, parsed
from shared.intervals import Interval, wilson
from shared.storage.waiting_tasks import FOR_LEADS


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two answers on the items that the hash drew; those checked because they differed from the
    AI's would show too little agreement. `percent` is 0..1; None: nothing to compare. Below
    `ENOUGH_ITEMS` the intervals are as wide as the scale. `kappa` and `alpha` are those of one
    label; of another kind of answer, all that is measured of it is in `figures`."""

    workflow: str
    items: int
    percent: float | None
    kappa: float | None
    alpha: float | None
    kappa_interval: Interval | None
    alpha_interval: Interval | None
    kind: Kind = "label"
    figures: list[Figure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A reviewer on gold items: `right` of `count`, and the 95 % interval of their accuracy."""

    reviewer: str
    count: int
    right: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class SecondReviews:
    """Of `items` with an answer, how many went to a second person, on how many of those the two
    disagreed, and how many disputes were settled. What waits for a lead now, whenever it was
    answered: `disputed` (two labels) and `flagged`."""

    items: int
    second: int
    disagreed: int
    adjudicated: int
    disputed: int
    flagged: int

    @property
    def share(self) -> float | None:
        """0..1; None before the first answer."""
        return self.second / self.items if self.items else None

    @property
    def disagreement(self) -> float | None:
        """0..1, of those answered twice; None before the first."""
        return self.disagreed / self.second if self.second else None


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
# Of what was erased the answers are no longer known, but to an item of one label.
_WHOLE = """(t.kind IS NULL OR NOT EXISTS (
    SELECT FROM item i
    WHERE i.workflow = t.workflow AND i.id = t.item_id AND i.erased_at IS NOT NULL))"""
ENOUGH_ITEMS = 30
OWN_STEP = 20
_PAIRS = text(
    f"""
    SELECT d.task_id, d.round, d.label, d.answer, t.kind, t.item ->> 'text' AS text
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND t.drawn AND d.decided_at >= :since AND {_STANDING}
      AND NOT d.seeded AND d.round IN ('first', 'second') AND {_WHOLE}
    ORDER BY d.id
    """  # noqa: S608 - put together from constants
)
# Which candidate was preferred in the end, and what the producer calls them, if it says so.
_CHOSEN = text(
    f"""
    SELECT jsonb_array_length(t.item -> 'candidates') AS places,
           t.item #> '{{metadata,candidates}}' AS names, d.answer -> 'preferred' AS preferred
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND t.kind = 'preference' AND d.decided_at >= :since
      AND {_STANDING} AND NOT d.seeded AND d.revision = t.revision AND {_WHOLE}
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
_OWN = text(
    """
    WITH mine AS (
        SELECT DISTINCT ON (d.task_id) d.label = t.known_label AS right,
               min(d.decided_at) OVER (PARTITION BY d.task_id) AS first_at
        FROM review_decision d JOIN review_task t ON t.id = d.task_id
        WHERE t.seeded_for = :reviewer AND t.workflow = :workflow AND d.reviewer = :reviewer
          AND d.seeded AND d.effective AND d.label IS NOT NULL AND d.decided_at < :until
        ORDER BY d.task_id, d.id DESC
    ), placed AS (
        SELECT "right", row_number() OVER (ORDER BY first_at) AS place,
               count(*) OVER () AS answered
        FROM mine
    )
    SELECT count(*) AS answered, count(*) FILTER (WHERE "right") AS right
    FROM placed WHERE place <= answered - answered % :step
    """
)
# One pass over the decisions; the same task never has two of a round that stand, but for reopened
# ones, which are settled again.
_ROUNDS = text(
    f"""
    WITH task AS (
        SELECT d.task_id,
               max(d.label) FILTER (WHERE d.round = 'first') AS first,
               max(d.label) FILTER (WHERE d.round = 'second') AS second,
               bool_or(d.round = 'adjudication') AS adjudicated
        FROM review_decision d JOIN review_task t ON t.id = d.task_id
        WHERE t.workflow = :workflow AND d.decided_at >= :since AND {_STANDING} AND NOT d.seeded
        GROUP BY d.task_id
    )
    SELECT count(*) AS items,
           count(second) AS second,
           count(*) FILTER (WHERE second <> first) AS disagreed,
           count(*) FILTER (WHERE second IS NOT NULL AND adjudicated) AS adjudicated
    FROM task
    """  # noqa: S608 - put together from constants
)
_FOR_LEADS = text(
    f"""
    SELECT count(*) FILTER (WHERE NOT answers @> '[{{"label": null}}]') AS disputed,
           count(*) FILTER (WHERE answers @> '[{{"label": null}}]') AS flagged
    FROM review_task WHERE workflow = :workflow AND {FOR_LEADS}
    """  # noqa: S608 - put together from constants
)
_WITH_AI = text(
    f"""
    SELECT d.ai_label_shown AS shown, count(*) AS answered,
           count(*) FILTER (WHERE d.label = t.prediction ->> 'label') AS same
    FROM review_decision d JOIN review_task t ON t.id = d.task_id
    WHERE t.workflow = :workflow AND d.decided_at >= :since AND {_STANDING}
      AND NOT d.seeded AND d.round = 'first' AND d.batch IS NULL AND t.prediction IS NOT NULL
    GROUP BY d.ai_label_shown
    """  # noqa: S608 - put together from constants
)


def agreement(session: Session, workflow: str, since: datetime) -> Agreement:
    """How well two people agree on the same items. Where the workflow asked for answers of several
    kinds in that time, on those of the last one."""
    given = {"workflow": workflow, "since": since}
    by_task: dict[object, dict[str, Any]] = defaultdict(dict)
    for row in session.execute(_PAIRS, given):
        by_task[row.task_id][row.round] = row
    both = [(rows["first"], rows["second"]) for rows in by_task.values() if len(rows) == 2]
    strong = _strengths(session, given)
    alone: Kind = "preference" if strong else "label"  # nobody need answer twice for these
    kind = KIND_NAMES[both[-1][0].kind or "label"] if both else alone
    both = [pair for pair in both if (pair[0].kind or "label") == kind]
    briefs = [(one.label, other.label) for one, other in both]
    agreed = wilson(sum(one == other for one, other in briefs), len(briefs))
    one_label = kind == "label"
    kappa = beyond_chance(agreed, agreed_by_habit(briefs)) if one_label else None
    alpha = beyond_chance(agreed, agreed_by_pool(briefs)) if one_label else None
    found = [] if one_label else MEASURED[kind]([_pair(kind, *pair) for pair in both])
    if kind == "preference":
        found += strong
    return Agreement(
        workflow=workflow,
        items=len(both),
        percent=agreed and agreed.rate,
        kappa=kappa and kappa.rate,
        alpha=alpha and alpha.rate,
        kappa_interval=kappa,
        alpha_interval=alpha,
        kind=kind,
        figures=found,
    )


def _pair(kind: Kind, one: Any, other: Any) -> Pair:
    return Pair(parsed(kind, one.answer), parsed(kind, other.answer), one.text)


def _strengths(session: Session, given: dict[str, Any]) -> list[Figure]:
    """Of the candidates by the names that `metadata.candidates` gives them, else by their place."""
    choices: list[tuple[list[str], int | None]] = []
    for row in session.execute(_CHOSEN, given):
        names = [f"candidate {place + 1}" for place in range(row.places or 0)]
        told = row.names
        if isinstance(told, list) and len(told) == len(names):
            names = [str(name) for name in told]
        choices.append((names, row.preferred))
    return preferences.strengths(preferences.wins(choices))


def accuracy(session: Session, workflow: str, since: datetime) -> list[Accuracy]:
    """Each reviewer's accuracy on gold items, by name."""
    rows = session.execute(_KNOWN, {"workflow": workflow, "since": since})
    return [
        Accuracy(row.reviewer, row.answered, row.right, wilson(row.right, row.answered))
        for row in rows
    ]


def own_accuracy(session: Session, workflow: str, reviewer: str, now: datetime) -> Accuracy | None:
    """The reviewer's own, for the reviewer; None before the first `OWN_STEP` answers.

    It must not tell which items were known: so of all answers until last midnight UTC, in whole
    steps, whatever was taken back since and whichever period is asked for.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    given = {"workflow": workflow, "reviewer": reviewer, "until": midnight, "step": OWN_STEP}
    row = session.execute(_OWN, given).one()
    interval = wilson(row.right, row.answered)
    return Accuracy(reviewer, row.answered, row.right, interval) if row.answered else None


def second_reviews(session: Session, workflow: str, since: datetime) -> SecondReviews:
    """How much of the work is done twice, and how much of that is disputed."""
    row = session.execute(_ROUNDS, {"workflow": workflow, "since": since}).one()
    waiting = session.execute(_FOR_LEADS, {"workflow": workflow}).one()
    return SecondReviews(**row._mapping, **waiting._mapping)


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
