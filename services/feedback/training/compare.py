"""Compares two versions: on what people decided and nothing was trained on, and on live
traffic that both have answered."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from sqlalchemy import Engine, text

from services.feedback.certificate.drift import psi
from services.feedback.training.evaluate import Evaluation, Measured, evaluate, share
from services.feedback.training.gates import Gate, Scored, gates
from services.feedback.training.labelled_texts import divide, reviewed
from services.feedback.training.replay_set import ReplaySet, without
from services.feedback.training.retrain import Model, decided, judge
from shared.storage.database import database_errors
from shared.workflows.files import Workflow

_NEWEST = 10_000  # shadow scores that are looked at

# A worker adds to a version in which precision it answers.
_SHADOW = text("""
    SELECT e.data #>> '{prediction,label}' AS label,
           (e.data #>> '{prediction,confidence}')::float8 AS confidence,
           e.data ->> 'live_label' AS live_label,
           (e.data ->> 'live_confidence')::float8 AS live_confidence,
           CASE WHEN i.status IN ('HUMAN_ACCEPTED', 'HUMAN_CORRECTED')
                THEN i.final_label END AS human
    FROM event e LEFT JOIN item i ON i.workflow = e.workflow AND i.id = e.item_id
    WHERE e.workflow = :workflow AND e.type = 'item.shadow_scored'
      AND starts_with(e.data #>> '{prediction,model_version}', :candidate)
      AND starts_with(e.data ->> 'live_model_version', :live)
    ORDER BY e.seq DESC LIMIT :newest
""")


class Shadowed(NamedTuple):
    """Live items that both models scored. Right are those of the `reviewed` whose label a person
    gave, too; that a person saw the live model's label speaks for that model."""

    items: int
    agreement: Measured
    reviewed: int
    live_right: Measured
    candidate_right: Measured
    psi: float
    live_accepted: Measured
    candidate_accepted: Measured


class Comparison(NamedTuple):
    """Two models on the same sets of texts."""

    held_out: tuple[Evaluation, Evaluation]
    old: tuple[Evaluation, Evaluation] | None
    old_name: str
    shadowed: Shadowed | None

    def rows(self) -> list[tuple[str, str, str]]:
        """What was measured, of either model, in words."""
        found = _rows("held-out decisions", self.held_out)
        return found + (_rows(self.old_name, self.old) if self.old is not None else [])

    def shadow_lines(self) -> list[str]:
        """What live traffic says."""
        s = self.shadowed
        if s is None:
            return ["no live item was scored by both"]
        return [
            f"live: {s.items} items scored by both, the same label for {_share(s.agreement)}",
            f"live: of {s.reviewed} reviewed ones the live model was right on "
            f"{_share(s.live_right)}, the candidate on {_share(s.candidate_right)}",
            f"live: accepted at the threshold {_share(s.live_accepted)}, by the candidate "
            f"{_share(s.candidate_accepted)}; PSI of the scores {s.psi:.3f}",
        ]

    def plain(self) -> dict[str, object]:
        """For programs."""
        sets = {"held_out": self.held_out, **({} if self.old is None else {"old": self.old})}
        shadowed = self.shadowed
        return {
            **{name: [_plain(each) for each in pair] for name, pair in sets.items()},
            "live": None
            if shadowed is None
            else {
                name: value[0] if isinstance(value, Measured) else value
                for name, value in shadowed._asdict().items()
            },
        }


def compare_on(
    engine: Engine,
    workflow: Workflow,
    one: Model,
    other: Model,
    old: ReplaySet | None,
    taught: Collection[str],
    threshold: float,
) -> tuple[Comparison, list[Gate]]:
    """Both models on the held-out decisions and the replay set, and the verdict of the gates on
    `other` in the place of `one`.

    Raises:
        Overloaded: the database is unreachable.
    """
    parts = divide(reviewed(engine, workflow.name, workflow.answer), other.labels, taught)
    held_out = judge(one, other, decided(parts.held_out))
    if old is not None:
        # A text of the replay set may have come as an item, and have been trained on since.
        old = without(old, set(), parts.taught)
    known = judge(one, other, old.held_out) if old is not None and old.held_out else None

    def both(scored: Scored) -> tuple[Evaluation, Evaluation]:
        return (
            evaluate(scored.current, other.labels, threshold),
            evaluate(scored.candidate, other.labels, threshold),
        )

    found = Comparison(
        held_out=both(held_out),
        old=None if known is None else both(known),
        old_name="" if old is None else old.name,
        shadowed=shadowed(engine, workflow.name, one.model_version, other.model_version, threshold),
    )
    return found, gates(held_out, known)


def shadowed(
    engine: Engine, workflow: str, live: str, candidate: str, threshold: float
) -> Shadowed | None:
    """The newest live items that both model versions scored; None without any."""
    with database_errors(), engine.connect() as connection:
        rows = connection.execute(
            _SHADOW,
            {"workflow": workflow, "candidate": candidate, "live": live, "newest": _NEWEST},
        ).all()
    if not rows:
        return None
    reviewed_rows = [row for row in rows if row.human is not None]
    before = np.array([row.live_confidence for row in rows])
    after = np.array([row.confidence for row in rows])
    return Shadowed(
        items=len(rows),
        agreement=share(sum(row.label == row.live_label for row in rows), len(rows)),
        reviewed=len(reviewed_rows),
        live_right=share(
            sum(row.live_label == row.human for row in reviewed_rows), len(reviewed_rows)
        ),
        candidate_right=share(
            sum(row.label == row.human for row in reviewed_rows), len(reviewed_rows)
        ),
        psi=psi(before, after),
        live_accepted=share(int((before >= threshold).sum()), len(rows)),
        candidate_accepted=share(int((after >= threshold).sum()), len(rows)),
    )


def _rows(name: str, pair: tuple[Evaluation, Evaluation]) -> list[tuple[str, str, str]]:
    one, other = pair
    rows = [
        (f"{name}: items", str(one.items), str(other.items)),
        (f"{name}: accuracy", _share(one.accuracy), _share(other.accuracy)),
        (f"{name}: micro F1", _share(one.micro_f1), _share(other.micro_f1)),
        (f"{name}: macro F1", _share(one.macro_f1), _share(other.macro_f1)),
        (f"{name}: ECE", _number(one.ece), _number(other.ece)),
        (f"{name}: below {one.threshold:g}", _share(one.share_below), _share(other.share_below)),
        (f"{name}: accuracy above", _share(one.accuracy_above), _share(other.accuracy_above)),
    ]
    return rows + [
        (f"{name}: F1 of {first.label}", _share(first.f1), _share(second.f1))
        for first, second in zip(one.labels, other.labels, strict=True)
    ]


def _share(found: Measured) -> str:
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"


def _number(found: Measured) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _plain(found: Evaluation) -> dict[str, object]:
    return {
        "items": found.items,
        "accuracy": found.accuracy.value,
        "accuracy_interval": [found.accuracy.low, found.accuracy.high],
        "micro_f1": found.micro_f1.value,
        "macro_f1": found.macro_f1.value,
        "ece": found.ece.value,
        "share_below": found.share_below.value,
        "f1": {label.label: label.f1.value for label in found.labels},
    }
