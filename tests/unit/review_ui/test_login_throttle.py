"""Does the throttle slow down guessing, forget in time, and stay small?"""

import threading
from concurrent.futures import ThreadPoolExecutor

from services.review_ui.auth import sessions
from services.review_ui.auth.sessions import PER_ADDRESS, PER_NAME, LoginThrottle
from tests.support.review_service import TurnedClock


def test_many_attempts_at_once_do_not_slip_through() -> None:
    # Given twenty attempts that all start before the first password has been compared
    throttle = LoginThrottle(TurnedClock())
    together = threading.Barrier(20)

    def attempt(_: int) -> int | None:
        together.wait()
        return throttle.begin("ada", "10.0.0.1")

    with ThreadPoolExecutor(20) as pool:
        waits = list(pool.map(attempt, range(20)))
    # I expect as many to go on as may fail
    assert waits.count(None) == PER_NAME.failures


def test_a_name_in_other_letters_is_the_same_name() -> None:
    throttle = LoginThrottle(TurnedClock())
    for spelling in ("ada", "ADA", "Ada", "aDa", "adA"):
        assert throttle.begin(spelling, "10.0.0.1") is None
    assert throttle.begin("ada", "10.0.0.2") is not None


def test_a_success_does_not_open_the_door_for_others_at_the_address() -> None:
    # Given somebody with an account of their own who guesses those of others in between
    throttle = LoginThrottle(TurnedClock())
    guesses = 0
    while throttle.begin(f"victim{guesses}", "10.0.0.1") is None:
        guesses += 1
        if throttle.begin("mallory", "10.0.0.1") is None:
            throttle.succeeded("mallory", "10.0.0.1")
    # I expect the guesses to be counted all the same
    assert guesses == PER_ADDRESS.failures


def test_failures_are_forgotten_one_by_one() -> None:
    # Given failures a minute apart, until no more is allowed
    clock = TurnedClock()
    throttle = LoginThrottle(clock)
    for _ in range(PER_NAME.failures):
        assert throttle.begin("ada", "10.0.0.1") is None
        clock.turn(60)
    # I expect the first to be forgotten when its time is over, and the next only later
    clock.turn(PER_NAME.seconds - 60 * PER_NAME.failures)
    assert throttle.begin("ada", "10.0.0.1") is None
    wait = throttle.begin("ada", "10.0.0.1")
    assert wait is not None
    assert 0 < wait <= 61


def test_an_endless_stream_of_names_fills_no_memory() -> None:
    throttle = LoginThrottle(TurnedClock())
    for number in range(sessions._REMEMBERED + 500):
        throttle.begin(f"name{number}", f"address{number}")
    assert len(throttle._failures) <= sessions._REMEMBERED
