"""How long to wait before the next try: pauses that double, and jitter."""

from shared.chance import CHANCE

_MAX_DOUBLINGS = 30  # a float has no more room after a thousand


def pause_after(failures: int, first_seconds: float, max_seconds: float) -> float:
    """Seconds: `first_seconds`, twice as long after each of the failures in a row, `max_seconds` at
    most."""
    return min(first_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS), max_seconds)


def jittered(seconds: float, least: float = 0.5) -> float:
    """Between `least` of it and all of it, so that what failed together does not try together."""
    return seconds * CHANCE.uniform(least, 1.0)
