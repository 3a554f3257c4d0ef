"""The gates that a version must pass before promotion. Pure: scores in, verdicts in words out.

No worse than the model in use beyond noise, honest about its confidence, judged by enough people's
decisions, and not at the price of what was known before.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.feedback.quality import Floats, calibration_error
from services.feedback.registry.receipt import Receipt
from services.feedback.training.evaluate import (
    Bools,
    Judged,
    ece_if_calibrated,
    worse_by_chance,
)

MIN_HELD_OUT = 50  # an accuracy from 50 labels is known to 10 points
SIGNIFICANCE = 0.05
MAX_ECE = 0.05
MAX_FORGOTTEN = 0.02  # of the accuracy on the replay set
# Four texts lost and none gained may be chance by the test of `no_worse`, at its level (0.5 ** 4).
MAX_FORGOTTEN_TEXTS = 4


class Scored(NamedTuple):
    """Two models on the same n texts, and for how many items each text stands [n]."""

    current: Judged
    candidate: Judged
    weights: Floats

    @property
    def items(self) -> int:
        """How many texts."""
        return len(self.weights)

    def right(self) -> tuple[Bools, Bools]:
        """Who gave the whole answer right on each text: the current model, the candidate."""
        return self.current.right, self.candidate.right


class Gate(NamedTuple):
    """One condition and what was found."""

    name: str
    passed: bool
    words: str


def gates(held_out: Scored, old: Scored | None) -> list[Gate]:
    """Every condition, in the order in which they matter; `old` is the domain that the model knew
    before, where there are labelled texts of it."""
    verdicts = [_enough(held_out)]
    if held_out.items:
        verdicts += [no_worse(held_out), _calibrated(held_out)]
    if old is not None and old.items:
        verdicts.append(_remembers(old))
    return verdicts


def remembered(receipt: Receipt) -> Gate | None:
    """What a version had forgotten when it was trained, beside its parent; None where it was not
    measured. For a replayed file, which is not at hand any more when it is promoted."""
    found = receipt.figures.get("old")
    if found is None:
        return None
    before, after = found["parent"].accuracy[0], found["candidate"].accuracy[0]
    words = (
        f"right on {after:.1%} of {found['candidate'].items} texts of {receipt.old_domain} when it "
        f"was trained, {receipt.parent.version} on {before:.1%}"
    )
    return Gate("remembers", _kept(before, after, found["candidate"].items), words)


def refusal(verdicts: Sequence[Gate]) -> str | None:
    """Why not, in words; None where every gate is open."""
    shut = [f"{gate.name}: {gate.words}" for gate in verdicts if not gate.passed]
    return "; ".join(shut) or None


def _enough(held_out: Scored) -> Gate:
    found = held_out.items
    words = f"{found} human decisions are held out, {MIN_HELD_OUT} are needed"
    return Gate("enough labels", found >= MIN_HELD_OUT, words)


def no_worse(held_out: Scored) -> Gate:
    """Whether the candidate is wrong no more often than chance explains."""
    before, after = held_out.right()
    chance = worse_by_chance(before, after)
    passed = chance >= SIGNIFICANCE
    words = (
        f"right on {after.mean():.1%} of {len(after)} held-out decisions, the current model on "
        f"{before.mean():.1%} (McNemar, one-sided: p = {chance:.3f})"
    )
    return Gate("no worse", passed, words)


def _calibrated(held_out: Scored) -> Gate:
    confidence = held_out.candidate.confidence
    found = calibration_error(confidence, held_out.candidate.right, held_out.weights)
    most = max(MAX_ECE, ece_if_calibrated(confidence, held_out.weights))
    words = f"calibration error {found:.3f}; up to {most:.3f} may be noise of {len(confidence)}"
    return Gate("calibrated", found <= most, words)


def _remembers(old: Scored) -> Gate:
    before, after = (float(right.mean()) for right in old.right())
    words = f"right on {after:.1%} of {old.items} texts of the replay set, before {before:.1%}"
    return Gate("remembers", _kept(before, after, old.items), words)


def _kept(before: float, after: float, items: int) -> bool:
    """Whether little is lost, or so few texts that it may be chance: of 40 texts a single one is
    more than two points."""
    lost = before - after
    return lost <= MAX_FORGOTTEN or round(lost * items) <= MAX_FORGOTTEN_TEXTS
