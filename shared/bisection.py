"""Finds by bisection which message is at fault in a batch that fails as a whole."""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def bisected(batch: Sequence[T], attempt: Callable[[Sequence[T]], Sequence[R] | None]) -> list[R]:
    """A result for each of the batch. Where `attempt` returns None, each half is tried by itself,
    and so on; to one alone it must give a result."""
    results = attempt(batch)
    if results is not None:
        return list(results)
    middle = len(batch) // 2
    return [*bisected(batch[:middle], attempt), *bisected(batch[middle:], attempt)]
