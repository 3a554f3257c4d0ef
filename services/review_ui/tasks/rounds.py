"""Rounds of review: which comes next, and when the outcome is final. Pure.

first ──agreed, or not to be checked──► final
  └──drawn, or a blind answer unlike the AI's──► second ──same label──► final
                                                   └──another──► adjudication ──► final
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import assert_never

from shared.events.models import Round
from shared.hashing import hash01
from shared.labels import same_label


@dataclass(frozen=True, slots=True)
class Answer:
    """A label that a person gave, and in which round."""

    round: Round
    label: str


@dataclass(frozen=True, slots=True)
class Final:
    """The label that stands."""

    label: str


def after(
    answers: Sequence[Answer],
    *,
    drawn: bool = False,
    unlike_ai: str | None = None,
    same: Callable[[str, str], bool] = same_label,
) -> Final | Round:
    """What follows from the answers so far, in the order given: the outcome or the next round.
    A second person answers what is `drawn`, and what the first answered unlike the label
    `unlike_ai`, as `same` compares them.

    Raises:
        ValueError: there is no answer, or a second one without a first.
    """
    if not answers:
        raise ValueError("no answer yet: the first round")
    last = answers[-1]
    match last.round:
        case "first":
            differs = unlike_ai is not None and not same(last.label, unlike_ai)
            return "second" if drawn or differs else Final(last.label)
        case "second":
            firsts = [answer.label for answer in answers if answer.round == "first"]
            if not firsts:
                raise ValueError("a second answer without a first")
            return Final(last.label) if firsts[-1] == last.label else "adjudication"
        case "adjudication":
            return Final(last.label)
        case unreachable:
            assert_never(unreachable)


def drawn(workflow: str, item_id: str, share: float) -> bool:
    """Whether the item is among the `share` that two people answer; a larger share keeps it."""
    return hash01(None, "second review", workflow, item_id) < share
