"""What if the wall clock jumps? Pauses are monotonic; these are the times that tables hold."""

from sqlalchemy import Engine

from services.review_ui.tasks.decide import Decided, StaleLease
from shared.workflows.files import ReviewRules
from tests.support.review_data import UNDO_SECONDS, ReviewRoom
from tests.support.review_service import requested, take_in

HOUR = 3_600.0
DAY = 24 * HOUR


def test_a_clock_that_jumps_back_delays_a_decision_and_never_doubles_it(engine: Engine) -> None:
    # Given a decision that waits for its undo window, and a clock that is then set back an hour
    take_in(engine, requested("a"))
    room = ReviewRoom(engine, ReviewRules())
    room.answer("mary", "positive")
    room.clock.turn(-HOUR)
    assert room.publish() == [], "its time has not come by this clock"
    # It leaves once the clock is there again, and a second jump sends nothing a second time
    room.clock.turn(HOUR + UNDO_SECONDS)
    [left] = room.publish()
    assert left.item_id == "a"
    room.clock.turn(-HOUR)
    assert room.publish() == []
    room.clock.turn(2 * HOUR)
    assert room.publish() == []


def test_a_clock_that_jumps_forward_ends_leases_and_one_answer_counts(engine: Engine) -> None:
    # Given a task in mary's hands, and a clock that jumps a day ahead
    take_in(engine, requested("a"))
    room = ReviewRoom(engine, ReviewRules())
    [hers] = room.claim("mary")
    room.clock.turn(DAY)
    # Peter gets it; mary is told, whatever the clock says by the time that she answers
    [his] = room.claim("peter")
    room.clock.turn(-DAY)
    assert isinstance(room.decide("mary", hers, "negative"), StaleLease)
    assert isinstance(room.decide("peter", his, "positive"), Decided)
    [left] = room.published_at_last()
    assert (left.decision.reviewer, left.decision.label) == ("peter", "positive")
