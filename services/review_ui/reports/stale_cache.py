"""A cache that serves a slightly stale answer to everybody who asks the same while one recounts."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

FRESH_SECONDS = 4.0
MAX_ANSWERS = 256
_COST = 10

T = TypeVar("T")


class _Answer(Generic[T]):
    """One question's last answer, in a list: an answer may be None."""

    def __init__(self) -> None:
        self.counting = threading.Lock()
        self.last: list[T] = []
        self.fresh_until = float("-inf")


class StaleCache(Generic[T]):
    """Answers by question, `MAX_ANSWERS` at most: the least recently asked goes first.

    Fresh for `FRESH_SECONDS`, or ten times what the counting took. Who asks while another counts
    gets the last answer; only the first one has to be waited for.
    """

    def __init__(self, most: int = MAX_ANSWERS, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._lock = threading.Lock()
        self._answers: dict[Hashable, _Answer[T]] = {}

    def get(self, question: Hashable, count: Callable[[], T]) -> T:
        """The answer; what `count` raises comes through, and is not kept."""
        with self._lock:
            answer = self._answers.pop(question, None) or _Answer[T]()
            self._answers[question] = answer
            while len(self._answers) > self._most:
                del self._answers[next(iter(self._answers))]
        if not answer.counting.acquire(blocking=not answer.last):
            return answer.last[0]
        try:
            began = self._now()
            if began >= answer.fresh_until:
                answer.last = [count()]
                ended = self._now()
                answer.fresh_until = ended + max(FRESH_SECONDS, _COST * (ended - began))
            return answer.last[0]
        finally:
            answer.counting.release()
