"""Is the time that a decision is said to have taken the time that somebody worked on it?"""

from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.reports import dashboard
from services.review_ui.tasks.decide import DecisionRequest, decide
from shared.answers.base import AnswerSpec
from shared.events.models import ItemReviewed
from shared.workflows.files import ReviewRules
from tests.support.review_data import LABELS, LEASE_SECONDS, UNDO_SECONDS, ReviewRoom, lease_of
from tests.support.review_service import requested, take_in


@pytest.fixture
def room(engine: Engine) -> ReviewRoom:
    take_in(engine, *(requested(f"i{number}", confidence=0.6 + number / 50) for number in range(3)))
    return ReviewRoom(engine, ReviewRules())


def published(room: ReviewRoom) -> list[ItemReviewed]:
    return sorted(room.published_at_last(), key=lambda event: event.item.id)


def test_a_program_is_measured_from_one_decision_to_the_next(room: ReviewRoom) -> None:
    # Given three items handed out at once, and a decision every four seconds
    for task in room.claim("ada", count=3):
        room.clock.turn(4)
        room.decide("ada", task, "positive")
    # I expect four seconds each, and nobody idle
    found = [event.review for event in published(room)]
    assert [(each.seconds, each.idle_seconds) for each in found] == [(4.0, 0.0)] * 3


def test_after_the_lease_nobody_is_known_to_have_worked(room: ReviewRoom) -> None:
    # Given an item that comes back after an hour in which nothing was heard of its reviewer
    (task,) = room.claim("ada")
    room.clock.turn(3_600)
    room.decide("ada", task, "positive")
    # I expect the lease to be the most that counts as work
    (event,) = published(room)
    assert event.review.seconds == LEASE_SECONDS
    assert event.review.idle_seconds == 3_600 - LEASE_SECONDS
    # A heartbeat is a sign.
    (task,) = room.claim("ada")
    room.clock.turn(200)
    room.heartbeat("ada", [lease_of(task)])
    room.clock.turn(290)
    room.decide("ada", task, "positive")
    (event,) = published(room)
    assert (event.review.seconds, event.review.idle_seconds) == (490.0, 0.0)


def test_what_the_page_measured_counts_and_reaches_the_dashboard(
    engine: Engine, room: ReviewRoom
) -> None:
    # Given a decision of nine seconds, with an hour of lunch before it
    (task,) = room.claim("ada")
    room.clock.turn(3_609)
    with Session(engine, expire_on_commit=False) as session, session.begin():
        request = DecisionRequest(
            uuid4(), task.id, task.lease_token, "accept", seconds=9.0, idle_seconds=3_600.0
        )
        decide(
            session,
            "ada",
            request,
            spec=AnswerSpec(labels=LABELS),
            review=ReviewRules(),
            now=room.clock(),
            undo_seconds=UNDO_SECONDS,
        )
        # I expect the dashboard to have the nine seconds
        found = dashboard.read(session, since=task.created_at)
    assert [work.seconds for work in found.reviewers] == [9.0]
    # and the event both.
    (event,) = published(room)
    assert (event.review.seconds, event.review.idle_seconds) == (9.0, 3_600.0)


def test_an_older_decision_can_still_be_taken_back(engine: Engine, room: ReviewRoom) -> None:
    # Given a decision of a release that measured nothing
    key = room.answer("ada", "negative")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE review_decision SET seconds = NULL, idle_seconds = NULL")
    # I expect its event to be withdrawn as ever
    assert room.undo("ada", key).published is False
    assert published(room) == []
