"""What is measured of two people's answers to the same items. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from shared.answers.base import Answer
from shared.intervals import Interval

Name = Literal[
    "kappa",
    "alpha",
    "exact_match",
    "exact_f1",
    "partial_f1",
    "equal_fields",
    "edit_similarity",
    "strength",
]


class Pair(NamedTuple):
    """What two people answered about the same text."""

    one: Answer
    other: Answer
    text: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its 95 % interval; `part`: of which label, or of which candidate."""

    name: Name
    interval: Interval
    part: str | None = None

    @property
    def value(self) -> float:
        """The number itself."""
        return self.interval.rate


def figures(*given: tuple[Name, Interval | None]) -> list[Figure]:
    """Those of which there is anything to say."""
    return [Figure(name, interval) for name, interval in given if interval is not None]


def mean(shares: Sequence[float]) -> list[tuple[float, float]]:
    """As `shared.intervals.ratio` takes them: each item counts once."""
    return [(share, 1.0) for share in shares]
