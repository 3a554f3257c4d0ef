"""Is the threshold loosened when people cannot keep up, to a certified level and no further?"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.certificate.workload import Relief, Workload, operating_threshold

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def workload(*minutes: float, pace_a_minute: float = 1.0) -> Workload:
    """Tasks due in so many minutes."""
    return Workload([NOW + MINUTE * due for due in sorted(minutes)], pace_a_minute / 60)


def test_tasks_are_late_that_cannot_be_done_in_turn() -> None:
    # Given one task a minute / I expect the third of three that are due in two minutes to be late
    assert workload(2, 2).late(NOW) == 0
    assert workload(2, 2, 2).late(NOW) == 1
    assert workload(2, 2, 2, 9).late(NOW) == 1
    # at half the pace one more, and without anybody all
    assert workload(2, 2, 2).late(NOW, 0.5) == 2
    assert workload(600, 600, pace_a_minute=0).late(NOW) == 2
    assert workload(pace_a_minute=0).late(NOW) == 0


def test_it_stays_loosened_until_there_is_room_to_spare() -> None:
    # Given tasks that would be late / I expect it loosened
    relief = Relief(10 * MINUTE)
    assert not relief.loosened(workload(2, 2), NOW)
    assert relief.loosened(workload(2, 2, 2), NOW)
    # though they are gone a minute later, and after a while as long as it would be tight again
    assert relief.loosened(workload(), NOW + MINUTE)
    later = NOW + 11 * MINUTE
    tight = Workload([later + 2 * MINUTE] * 2, 1 / 60)
    assert tight.late(later) == 0
    assert relief.loosened(tight, later)
    # I expect it tightened when all could be done at 70 % of the pace
    assert not relief.loosened(Workload([later + 3 * MINUTE] * 2, 1 / 60), later)


@pytest.mark.parametrize(
    ("wished", "loosened", "operated"),
    [
        (0.95, False, 0.96),  # the loosest certified level that is no looser than wished
        (0.95, True, 0.90),  # as loose as is certified
        (0.90, False, 0.90),
        (0.50, False, 0.90),  # never below what is certified
        (0.50, True, 0.90),
        (0.995, False, 0.99),  # nothing as strict is certified: the strictest that is
    ],
)
def test_the_machine_operates_at_a_certified_level(
    wished: float, loosened: bool, operated: float
) -> None:
    levels = (0.99, 0.96, 0.93, 0.90)
    assert operating_threshold(levels, wished, loosened=loosened) == operated


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1), st.booleans())
def test_no_wish_and_no_load_leads_between_the_levels(
    levels: list[float], wished: float, loosened: bool
) -> None:
    assert operating_threshold(levels, wished, loosened=loosened) in levels
