"""Is the same counted once, and for how long?"""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from services.review_ui.reports.stale_cache import FRESH_SECONDS, StaleCache


class Ticking:
    """A clock that stands until it is turned."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_serves_for_a_moment_and_each_question_for_itself() -> None:
    clock, counted = Ticking(), []
    cache = StaleCache[int](now=clock)

    def count(question: str, cost: float = 0.0) -> int:
        def work() -> int:
            counted.append(question)
            clock.now += cost
            return len(counted)

        return cache.get(question, work)

    # Given two questions, asked again at once
    assert [count("a"), count("b"), count("a")] == [1, 2, 1]
    # If the moment is over, I expect it counted again
    clock.now += FRESH_SECONDS
    assert count("a", cost=5.0) == 3
    # and what took long to be kept longer
    clock.now += 49
    assert count("a") == 3
    clock.now += 1
    assert count("a") == 4


def test_only_so_many_answers_are_kept_and_no_failure() -> None:
    cache = StaleCache[int](most=2)
    for number in range(5):
        cache.get(number, partial(int, number))
    # I expect the oldest gone
    assert cache.get(4, lambda: -1) == 4
    assert cache.get(0, lambda: -1) == -1
    # and what failed asked again
    with pytest.raises(ZeroDivisionError):
        cache.get("x", lambda: 1 // 0)
    assert cache.get("x", lambda: 7) == 7


def test_many_at_once_wait_for_one_count_and_none_waits_for_a_second() -> None:
    clock, counted = Ticking(), []
    cache = StaleCache[int](now=clock)
    hold, counting = threading.Event(), threading.Event()
    together = threading.Barrier(8)

    def slowly() -> int:
        counting.set()
        assert hold.wait(10)
        counted.append(1)
        return len(counted)

    def ask() -> int:
        together.wait()
        return cache.get("q", slowly)

    with ThreadPoolExecutor(9) as pool:
        # Given eight who ask at once, I expect one count for all
        asked = [pool.submit(ask) for _ in range(8)]
        assert counting.wait(10)
        hold.set()
        assert [each.result(10) for each in asked] == [1] * 8
        # If it is counted again, I expect others to get the last answer at once
        hold.clear()
        counting.clear()
        clock.now += FRESH_SECONDS
        again = pool.submit(cache.get, "q", slowly)
        assert counting.wait(10)
        assert cache.get("q", slowly) == 1
        hold.set()
        assert again.result(10) == 2
