"""Rounds of review: which comes next, and when the outcome is final. Pure.

first ──agreed, or not to be checked──► final
  └──drawn, or a blind answer unlike the AI's──► second ──same label──► final
                                                   └──another──► adjudication ──► final
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never, get_args

from shared.events.models import Round
from shared.hashing import hash01
from shared.labels import same_label


@dataclass(frozen=True, slots=True)
class Answer:
    """A label that a person gave, and in which round."""

    round: Round
    label: str


@dataclass(frozen=True, slots=True)
class Check:
    """What sends an item to a second person. `unlike_ai`: its blind first answer, where that
    differs from this label."""

    drawn: bool = False
    unlike_ai: str | None = None


@dataclass(frozen=True, slots=True)
class Final:
    """The label that stands."""

    label: str


def after(answers: Sequence[Answer], check: Check) -> Final | Round:
    """What follows from the answers so far, in the order given: the outcome or the next round.

    Raises:
        ValueError: there is no answer, or a second one without a first.
    """
    if not answers:
        raise ValueError("no answer yet: the first round")
    last = answers[-1]
    match last.round:
        case "first":
            ai = check.unlike_ai
            differs = ai is not None and not same_label(last.label, ai)
            return "second" if check.drawn or differs else Final(last.label)
        case "second":
            firsts = [answer.label for answer in answers if answer.round == "first"]
            if not firsts:
                raise ValueError("a second answer without a first")
            return Final(last.label) if firsts[-1] == last.label else "adjudication"
        case "adjudication":
            return Final(last.label)
        case unreachable:
            assert_never(unreachable)


def round_of(name: str) -> Round:
    """The round of this name, as a table keeps it.

    Raises:
        ValueError: there is none.
    """
    for each in get_args(Round):
        if each == name:
            known: Round = each
            return known
    raise ValueError(f"no such round: {name!r}")


def drawn(workflow: str, item_id: str, share: float) -> bool:
    """Whether the item is among the `share` that two people answer; a larger share keeps it."""
    return hash01(None, "second review", workflow, item_id) < share
