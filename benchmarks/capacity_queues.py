"""How long does who comes have to wait? Closed forms where there are any, else a simulation. Pure.

Erlang (1917) for M/M/k; Allen and Cunneen for M/G/k (Allen, Probability, Statistics and Queueing
Theory, 2nd ed. 1990, section 5.3), exact for one server (Pollaczek and Khinchine) and for M/M/k.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

Seconds = Callable[[random.Random], float]


def erlang_c(servers: int, load: float) -> float:
    """The share that has to wait: `load` is arrivals times seconds each, in servers kept busy.

    Raises:
        ValueError: the servers cannot keep up.
    """
    if not 0 <= load < servers:
        raise ValueError(f"{servers} servers cannot do the work of {load}")
    blocked = 1.0  # Erlang B, by its recursion
    for number in range(1, servers + 1):
        blocked = load * blocked / (number + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def mean_wait(servers: int, rate: float, seconds: float, variation: float = 1.0) -> float:
    """Seconds before the service begins, on average. `variation` is the standard deviation of the
    service over its mean: 0 constant, 1 exponential."""
    load = rate * seconds
    return erlang_c(servers, load) * seconds / (servers - load) * (1 + variation**2) / 2


@dataclass(frozen=True, slots=True)
class Stage:
    """Servers that take what waits, up to `batch` at once, in the order of arrival. A batch takes
    `each_time` and the sum of what its members do, and all of them leave at its end."""

    servers: int
    seconds: Seconds
    batch: int = 1
    each_time: float = 0.0


def poisson(rate: float, count: int, chance: random.Random) -> list[float]:
    """So many arrivals at random, `rate` a second."""
    return list(accumulate(chance.expovariate(rate) for _ in range(count)))


def serve(
    stage: Stage, arrivals: Sequence[float], chance: random.Random
) -> list[tuple[float, float]]:
    """When each is taken up and when it leaves, by arrival; `arrivals` in order of time."""
    free = [0.0] * stage.servers
    found: list[tuple[float, float]] = []
    while len(found) < len(arrivals):
        first = len(found)
        taken = max(arrivals[first], heapq.heappop(free))
        end = first + 1
        while end < len(arrivals) and end - first < stage.batch and arrivals[end] <= taken:
            end += 1
        done = taken + stage.each_time + sum(stage.seconds(chance) for _ in range(first, end))
        found += [(taken, done)] * (end - first)
        heapq.heappush(free, done)
    return found


def through(stages: Sequence[Stage], arrivals: Sequence[float], seed: int = 1) -> list[float]:
    """Seconds from arrival to the end of the last stage, in the order in which they arrived."""
    chance = random.Random(seed)
    at = list(arrivals)
    order = list(range(len(at)))
    for stage in stages:
        order.sort(key=at.__getitem__)
        for place, (_, left) in zip(
            order, serve(stage, [at[n] for n in order], chance), strict=True
        ):
            at[place] = left
    return [end - start for start, end in zip(arrivals, at, strict=True)]


def exponential(mean: float) -> Seconds:
    """Service times without a memory."""
    return lambda chance: chance.expovariate(1 / mean)


def lognormal(mean: float, variation: float) -> Seconds:
    """As people take: never negative, now and then long."""
    from math import log, sqrt

    sigma = sqrt(log(1 + variation**2))
    return lambda chance: chance.lognormvariate(log(mean) - sigma**2 / 2, sigma)
