"""Waiting times for a number of reviewers. Pure: one queue, first come, first served."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean, median, median_low

BREAK = 20.0  # times the median, and it was no work; of times that vary much it takes 1 in 1 000


@dataclass(frozen=True, slots=True)
class QueueDelay:
    """Seconds from the question to the moment that somebody takes it up. `seconds_each`: the median
    review; `breaks`: so many were left out as too long to be work. `busy`: how much of the
    reviewers' time the reviews need; at 1 and above the queue only grows. `enough`: the fewest
    reviewers whose time suffices."""

    reviewers: int
    seconds_each: float
    breaks: int
    busy: float
    enough: int
    median: float
    p90: float
    longest: float


def queue_delay(
    arrivals: Sequence[datetime], seconds: Sequence[float], reviewers: int
) -> QueueDelay | None:
    """Reviews of `seconds` each, drawn again from those measured, for `arrivals` in any order; the
    reviewers work around the clock. None where nothing arrives or nothing was ever measured.

    Raises:
        ValueError: fewer than one reviewer.
    """
    if reviewers < 1:
        raise ValueError(f"{reviewers} reviewers: at least one is needed")
    if not arrivals or not seconds:
        return None
    work = without_breaks(seconds)
    ordered = sorted(arrivals)
    start = ordered[0]
    draw = random.Random(0)  # noqa: S311 - a simulation that says the same each time
    free = [0.0] * reviewers
    waits = []
    for arrival in ordered:
        now = (arrival - start).total_seconds()
        taken = max(now, heapq.heappop(free))
        waits.append(taken - now)
        heapq.heappush(free, taken + draw.choice(work))
    waits.sort()
    each = fmean(work)
    span = max((ordered[-1] - start).total_seconds(), each)
    kept_busy = each * len(ordered) / span  # reviewers, all the time
    return QueueDelay(
        reviewers=reviewers,
        seconds_each=median(work),
        breaks=len(seconds) - len(work),
        busy=kept_busy / reviewers,
        enough=max(1, int(kept_busy) + 1),
        median=waits[len(waits) // 2],
        p90=waits[int(0.9 * (len(waits) - 1))],
        longest=waits[-1],
    )


def without_breaks(seconds: Sequence[float]) -> list[float]:
    """The times that are work. Older decisions, and those of programs, hold whatever lay between an
    item and its answer: one lunch of an hour would count for hundreds of answers."""
    longest = BREAK * median_low(seconds)
    return [each for each in seconds if each <= longest]
