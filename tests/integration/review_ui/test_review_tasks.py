"""Does each task go to one person at a time, and does each decision count exactly once?"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim, decide, undo
from services.review_ui.tasks.claim import Lease
from services.review_ui.tasks.decide import Decided, Refused, StaleLease
from services.review_ui.tasks.filters import TaskFilter
from services.review_ui.tasks.undo import Undone
from shared.storage.outbox import publish_due
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.review_data import LEASE_SECONDS, UNDO_SECONDS, ReviewRoom
from tests.support.review_service import (
    START,
    TRACEPARENT,
    TurnedClock,
    requested,
    take_in,
    task_id,
)


@pytest.fixture
def room(engine: Engine) -> ReviewRoom:
    return ReviewRoom(engine, ReviewRules())


# -- claiming --------------------------------------------------------------------------------


def test_eight_reviewers_claiming_five_hundred_tasks_never_share_one(room: ReviewRoom) -> None:
    # Given 500 tasks
    take_in(room.engine, *(requested(f"i{n}") for n in range(500)))
    together = threading.Barrier(8)

    # If eight reviewers claim seven at a time, all at once, until nothing is left
    def work(reviewer: str) -> list[str]:
        together.wait()
        got: list[str] = []
        while claimed := room.claim(reviewer, 7):
            got += [task.item_id for task in claimed]
        return got

    with ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(work, (f"r{n}" for n in range(8))))
    # I expect every task with exactly one of them
    counted = Counter(item for share in shares for item in share)
    assert len(counted) == 500
    assert set(counted.values()) == {1}
    assert sum(1 for share in shares if share) > 1


def test_the_most_urgent_comes_first(room: ReviewRoom) -> None:
    # Given tasks that differ in due time, priority, certainty and age
    soon, later = START + timedelta(minutes=5), START + timedelta(hours=5)
    take_in(room.engine, requested("old"))
    room.clock.turn(1)
    for event in (
        requested("young"),
        requested("unsure", confidence=0.55),
        requested("important", priority=9, confidence=0.99),
        requested("later", due_at=later, priority=9),
        requested("soon", due_at=soon),
    ):
        take_in(room.engine, event, clock=room.clock)
    # If I claim them all, I expect: due time, priority, uncertainty, age
    got = [task.item_id for task in room.claim("ada", 10)]
    assert got == ["soon", "later", "important", "unsure", "old", "young"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 3)),
            st.integers(0, 9),
            st.sampled_from([0.5, 0.625, 0.75, 1.0]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_any_mixture_is_claimed_in_order(
    room: ReviewRoom, urgencies: list[tuple[int | None, int, float]]
) -> None:
    # Given any tasks
    with room.engine.begin() as connection:
        connection.execute(text("TRUNCATE review_task CASCADE"))
    events = []
    for number, (hours, priority, confidence) in enumerate(urgencies):
        due_at = None if hours is None else START + timedelta(hours=hours)
        events.append(
            requested(str(number), due_at=due_at, priority=priority, confidence=confidence)
        )
    take_in(room.engine, *events)
    # If they are claimed one by one and two by two
    got: list[tuple[int | None, int, float]] = []
    while claimed := room.claim("ada", 1 + len(got) % 2):
        got += [urgencies[int(task.item_id)] for task in claimed]
    # I expect due time, then priority, then uncertainty
    never = 99
    keys = [(never if due is None else due, -priority, conf) for due, priority, conf in got]
    assert keys == sorted(keys)
    assert len(got) == len(urgencies)


def test_only_the_asked_workflow_and_queue_are_claimed(room: ReviewRoom) -> None:
    # Given tasks of two workflows and two queues
    take_in(
        room.engine,
        requested("a"),
        requested("b", queue="support"),
        requested("c", workflow="spam", queue="support"),
    )
    spam = ReviewRoom(room.engine, ReviewRules(), workflow="spam")
    # If I claim with filters, I expect only what I asked for
    assert [task.item_id for task in room.claim("ada", 9, TaskFilter(queue="support"))] == ["b"]
    assert [task.item_id for task in spam.claim("ada", 9)] == ["c"]
    assert [task.item_id for task in room.claim("ada", 9)] == ["a"]


def test_what_i_skipped_comes_back_to_others_first(room: ReviewRoom) -> None:
    # Given two tasks, the first of which I skip
    take_in(room.engine, requested("hard", priority=9), requested("easy"))
    (hard,) = room.claim("ada")
    room.decide("ada", hard, None, "skip")
    # I expect the other one next, while somebody else gets the skipped one
    assert [task.item_id for task in room.claim("ada")] == ["easy"]
    (task,) = room.claim("bob")
    assert task.item_id == "hard"
    # and once nothing else is left, it is mine again
    with Session(room.engine) as session, session.begin():
        claim.release(session, "bob", [Lease(task.id, task.lease_token)])
    assert [task.item_id for task in room.claim("ada")] == ["hard"]


def test_a_lease_that_runs_out_frees_its_task_under_a_new_token(room: ReviewRoom) -> None:
    # Given a task that Ada took and left
    take_in(room.engine, requested("i1"))
    (adas,) = room.claim("ada")
    assert room.claim("bob") == []
    # If her lease runs out
    room.clock.turn(LEASE_SECONDS)
    # I expect it to be Bob's, under a higher token
    (bobs,) = room.claim("bob")
    assert bobs.item_id == "i1"
    assert bobs.lease_token == adas.lease_token + 1


def test_a_heartbeat_extends_what_is_still_mine_and_names_what_is_not(room: ReviewRoom) -> None:
    # Given two leased tasks, one of which goes to Bob
    take_in(room.engine, requested("mine"), requested("gone"))
    leases = {task.item_id: Lease(task.id, task.lease_token) for task in room.claim("ada", 2)}
    with Session(room.engine) as session, session.begin():
        claim.release(session, "ada", [leases["gone"]])
    room.claim("bob")
    # If Ada's page sends its heartbeat shortly before the end
    room.clock.turn(LEASE_SECONDS - 1)
    with Session(room.engine) as session, session.begin():
        held = claim.heartbeat(
            session, "ada", list(leases.values()), now=room.clock(), lease_seconds=LEASE_SECONDS
        )
    # I expect the first to be extended, the other lost
    assert held == {task_id("mine"): room.clock() + timedelta(seconds=LEASE_SECONDS)}
    room.clock.turn(2)
    assert [task.item_id for task in room.claim("cleo", 9)] == ["gone"]  # Bob's has run out


def test_nobody_extends_or_releases_a_lease_of_somebody_else(room: ReviewRoom) -> None:
    # Given Ada's lease, whose number Bob has guessed
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    lease = Lease(task.id, task.lease_token)
    with Session(room.engine) as session, session.begin():
        # If Bob uses it, I expect nothing to happen
        assert not claim.heartbeat(
            session, "bob", [lease], now=room.clock(), lease_seconds=LEASE_SECONDS
        )
        assert claim.release(session, "bob", [lease]) == 0
    assert isinstance(room.decide("bob", task), StaleLease)
    assert room.task("i1").leased_by == "ada"


# -- deciding --------------------------------------------------------------------------------


def test_a_decision_and_its_event_commit_together(room: ReviewRoom) -> None:
    # Given a claimed task
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    room.clock.turn(12)
    # If I correct it
    outcome = room.decide("ada", task, "negative", note="irony")
    # I expect the task decided
    assert isinstance(outcome, Decided)
    decided = room.task("i1")
    assert (decided.status, decided.revision, decided.leased_by) == ("decided", 1, None)
    # and, once nobody can undo it unseen any more, a complete event
    assert room.publish() == []
    room.clock.turn(UNDO_SECONDS)
    (event,) = room.publish()
    assert (event.decision.label, event.decision.ai_label) == ("negative", "positive")
    assert (event.decision.action, event.decision.reviewer) == ("corrected", "ada")
    assert event.decision.decided_by == "human"
    assert event.review.revision == 1
    assert event.review.seconds == 12
    assert (event.review.ai_label_shown, event.review.note) == (True, "irony")
    assert event.item.text == "a film of two halves"
    # in the producer's trace, and only once
    (row,) = room.rows(Outbox)
    assert row.headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
    assert row.routing_key == "item.reviewed.sentiment"
    assert room.publish() == []


def test_choosing_the_label_of_the_ai_is_accepting_it(room: ReviewRoom) -> None:
    take_in(room.engine, requested("i1"), requested("i2"))
    one, other = room.claim("ada", 2)
    room.decide("ada", one, None, "accept")
    room.decide("ada", other, "positive")
    room.clock.turn(UNDO_SECONDS)
    assert [event.decision.action for event in room.publish()] == ["accepted", "accepted"]


def test_the_same_key_again_answers_the_same_and_does_nothing(room: ReviewRoom) -> None:
    # Given a decision whose answer got lost on its way
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    first = room.decide("ada", task, key=key)
    # If it is sent again, also much later
    room.clock.turn(1_000)
    again = room.decide("ada", task, key=key)
    # I expect the same answer and one decision
    assert isinstance(first, Decided)
    assert isinstance(again, Decided)
    assert again.replayed
    assert (again.row.id, again.undo_until) == (first.row.id, first.undo_until)
    assert len(room.rows(ReviewDecision)) == len(room.rows(Outbox)) == 1
    # and a key that is used for something else is refused
    with pytest.raises(Refused) as refused:
        room.decide("ada", task, "positive", key=key)
    assert refused.value.code == "key_reused"


def test_many_identical_requests_at_once_are_one_decision(room: ReviewRoom) -> None:
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: room.decide("ada", task, key=key), range(8)))
    assert all(isinstance(outcome, Decided) for outcome in outcomes)
    assert sum(1 for outcome in outcomes if not outcome.replayed) == 1
    assert len(room.rows(Outbox)) == 1


def test_different_decisions_at_once_give_one_that_counts(room: ReviewRoom) -> None:
    # Given a task open in two tabs of the same reviewer
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    # If eight different decisions arrive at once
    labels = ["negative", "positive"] * 4
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda label: room.decide("ada", task, label), labels))
    # I expect one to count, and the others on record
    assert sum(isinstance(outcome, Decided) for outcome in outcomes) == 1
    rows = room.rows(ReviewDecision)
    assert len(rows) == 8
    assert [row.effective for row in rows].count(True) == 1
    assert len(room.rows(Outbox)) == 1


def test_a_decision_with_a_stale_token_is_recorded_and_changes_nothing(room: ReviewRoom) -> None:
    # Given a task that Bob took over after Ada's lease had run out
    take_in(room.engine, requested("i1"))
    (adas,) = room.claim("ada")
    room.clock.turn(LEASE_SECONDS + 1)
    (bobs,) = room.claim("bob")
    # If Ada's page sends her decision all the same
    key = uuid4()
    late = room.decide("ada", adas, "negative", key=key)
    # I expect a clear answer, a record, and Bob undisturbed
    assert isinstance(late, StaleLease)
    assert "does not count" in late.text
    assert isinstance(room.decide("ada", adas, "negative", key=key), StaleLease)
    assert isinstance(room.decide("bob", bobs, None, "accept"), Decided)
    ineffective, effective = room.rows(ReviewDecision)
    assert (ineffective.reviewer, ineffective.effective, ineffective.label) == (
        "ada",
        False,
        "negative",
    )
    assert (effective.reviewer, effective.effective) == ("bob", True)
    # and what did not count cannot be undone
    with pytest.raises(Refused) as refused:
        room.undo("ada", key)
    assert refused.value.code == "did_not_count"


def test_my_own_older_tab_is_late_too(room: ReviewRoom) -> None:
    # Given a task that ran out in one tab and that I got again in another
    take_in(room.engine, requested("i1"))
    (older,) = room.claim("ada")
    room.clock.turn(LEASE_SECONDS)
    (newer,) = room.claim("ada")
    # If both decide, I expect the newer lease to count, and only that
    assert isinstance(room.decide("ada", older, "negative"), StaleLease)
    assert isinstance(room.decide("ada", newer, "positive"), Decided)


def test_a_lease_that_ran_out_still_counts_while_nobody_took_the_task(room: ReviewRoom) -> None:
    # Given a reviewer who was offline longer than the lease
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    room.clock.turn(LEASE_SECONDS * 10)
    # If the decision arrives at last, I expect it to count: the token is still the newest
    assert isinstance(room.decide("ada", task), Decided)


@pytest.mark.parametrize(
    ("action", "label", "code"),
    [
        ("correct", None, "label_required"),
        ("correct", "ironic", "unknown_label"),
        ("flag", None, "reason_required"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(
    room: ReviewRoom, action: decide.Action, label: str | None, code: str
) -> None:
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    with pytest.raises(Refused) as refused:
        room.decide("ada", task, label, action, reason=None)
    assert refused.value.code == code
    assert room.rows(ReviewDecision) == []


def test_a_blind_item_cannot_be_accepted_unseen(room: ReviewRoom) -> None:
    # Given an item of the audit panel
    take_in(room.engine, requested("i1", blind=True))
    (task,) = room.claim("ada")
    # If I accept what I was not shown, I expect to be asked for a label
    with pytest.raises(Refused) as refused:
        room.decide("ada", task, None, "accept")
    assert refused.value.code == "blind"
    # and a label counts, with the fact on record that the AI's was hidden
    room.decide("ada", task, "positive")
    room.clock.turn(UNDO_SECONDS)
    (event,) = room.publish()
    assert (event.decision.action, event.review.ai_label_shown) == ("accepted", False)
    assert event.decision.sampling is not None
    assert event.decision.sampling.on_panel


def test_a_flagged_task_leaves_the_queue(room: ReviewRoom) -> None:
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    assert isinstance(room.decide("ada", task, None, "flag", reason="private", key=key), Decided)
    assert room.claim("bob") == []
    assert room.task("i1").status == "flagged"
    assert room.rows(Outbox) == []
    # and comes back when the flag is taken back
    undone = room.undo("ada", key)
    assert undone.task is not None
    assert room.task("i1").status == "open"


# -- undoing ---------------------------------------------------------------------------------


def test_an_undo_in_time_leaves_no_trace_downstream(room: ReviewRoom) -> None:
    # Given a decision of four seconds ago
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    room.decide("ada", task, "negative", key=key)
    room.clock.turn(4)
    # If it is taken back, twice, as a browser might that got no answer
    undone, again = room.undo("ada", key), room.undo("ada", key)
    # I expect the task in my hands under a new token, and nothing to be published
    assert undone.task is not None
    assert again.task is not None
    assert (undone.published, again.published) == (False, False)
    assert undone.task.lease_token == again.task.lease_token == task.lease_token + 1
    room.clock.turn(60)
    assert room.publish() == []
    # and the new decision is the first that anybody hears of
    assert isinstance(room.decide("ada", undone.task, "positive"), Decided)
    room.clock.turn(60)
    (event,) = room.publish()
    assert (event.decision.label, event.review.revision) == ("positive", 1)


def test_an_undo_after_publication_makes_the_next_decision_a_new_revision(room: ReviewRoom) -> None:
    # Given a decision that has left
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    room.decide("ada", task, "negative", key=key)
    room.clock.turn(UNDO_SECONDS)
    (first,) = room.publish()
    # If it is taken back and decided otherwise
    undone = room.undo("ada", key)
    assert undone.published
    assert room.undo("ada", key).published
    assert undone.task is not None
    room.decide("ada", undone.task, "positive")
    room.clock.turn(UNDO_SECONDS)
    # I expect a second event with an id of its own
    (second,) = room.publish()
    assert (first.review.revision, second.review.revision) == (1, 2)
    assert first.event_id != second.event_id
    assert second.decision.label == "positive"


def test_an_undo_never_withdraws_what_a_dead_relay_may_have_sent(room: ReviewRoom) -> None:
    # Given a relay that died after publishing, before it could mark the row
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    key = uuid4()
    room.decide("ada", task, "negative", key=key)
    room.clock.turn(UNDO_SECONDS)

    def die(_messages: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_due(room.engine, die, room.clock())
    # If the decision is undone now and made anew
    undone = room.undo("ada", key)
    assert undone.task is not None
    room.decide("ada", undone.task, "positive")
    room.clock.turn(UNDO_SECONDS)
    # I expect two different events, so that whoever saw the first hears of the second
    assert [event.review.revision for event in room.publish()] == [1, 2]


def test_an_undo_that_meets_the_relay_ends_one_way_or_the_other(room: ReviewRoom) -> None:
    # Given decisions whose time is just up, undone while the relay publishes
    take_in(room.engine, *(requested(f"i{n}") for n in range(20)))
    claimed = room.claim("ada", 20)
    keys = {task.item_id: uuid4() for task in claimed}
    for task in claimed:
        room.decide("ada", task, "negative", key=keys[task.item_id])
    room.clock.turn(UNDO_SECONDS - 1)
    early = TurnedClock(room.clock.now)
    late = TurnedClock(room.clock.now + timedelta(seconds=1))
    sent: list[str] = []

    def relay() -> None:
        for _ in range(5):
            publish_due(room.engine, lambda batch: sent.extend(m.message_id for m in batch), late())

    def undo_early(item_id: str) -> Undone:
        with Session(room.engine, expire_on_commit=False) as session, session.begin():
            return undo.undo(
                session, "ada", keys[item_id], now=early(), lease_seconds=LEASE_SECONDS
            )

    with ThreadPoolExecutor(6) as pool:
        publishing = pool.submit(relay)
        undone = dict(zip(keys, pool.map(undo_early, keys), strict=True))
        publishing.result()
    # I expect: what was withdrawn was not sent, what was sent is known to be
    withdrawn = {item_id for item_id, each in undone.items() if not each.published}
    with Session(room.engine) as session:
        for item_id in keys:
            task = session.get_one(ReviewTask, task_id(item_id))
            assert task.status == "open"
            assert task.revision == (0 if item_id in withdrawn else 1)
    assert len(sent) == len(set(sent)) == len(keys) - len(withdrawn)


def test_only_the_decision_that_stands_can_be_undone_and_only_by_its_maker(
    room: ReviewRoom,
) -> None:
    # Given a decision of Ada's that was reopened and decided by Bob
    take_in(room.engine, requested("i1"))
    (task,) = room.claim("ada")
    adas, second, bobs = uuid4(), uuid4(), uuid4()
    room.decide("ada", task, key=adas)
    # If somebody else undoes it, I expect it not to be found
    with pytest.raises(Refused) as refused:
        room.undo("bob", adas)
    assert refused.value.code == "no_such_decision"
    reopened = room.undo("ada", adas).task
    assert reopened is not None
    room.decide("ada", reopened, None, "skip", key=second)
    (again,) = room.claim("bob")
    room.decide("bob", again, None, "accept", key=bobs)
    # and undoing the skip now takes nothing from Bob
    assert room.undo("ada", second).task is None
    assert room.task("i1").status == "decided"
