"""How long would items wait for so many reviewers? Pure: one queue, first come, first served."""

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class QueueDelay:
    """Seconds from the question to the moment that somebody takes it up. `busy`: how much of the
    reviewers' time the reviews need; at 1 and above the queue only grows. `enough`: the fewest
    reviewers whose time suffices."""

    reviewers: int
    seconds_each: float
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
        raise ValueError(f"{reviewers} reviewers")
    if not arrivals or not seconds:
        return None
    ordered = sorted(arrivals)
    start = ordered[0]
    draw = random.Random(0)  # noqa: S311 - a simulation that says the same each time
    free = [0.0] * reviewers
    waits = []
    for arrival in ordered:
        now = (arrival - start).total_seconds()
        taken = max(now, heapq.heappop(free))
        waits.append(taken - now)
        heapq.heappush(free, taken + draw.choice(seconds))
    waits.sort()
    each = sum(seconds) / len(seconds)
    span = max((ordered[-1] - start).total_seconds(), each)
    work = each * len(ordered) / span  # reviewers kept busy without a break
    return QueueDelay(
        reviewers=reviewers,
        seconds_each=each,
        busy=work / reviewers,
        enough=max(1, int(work) + 1),
        median=waits[len(waits) // 2],
        p90=waits[int(0.9 * (len(waits) - 1))],
        longest=waits[-1],
    )
