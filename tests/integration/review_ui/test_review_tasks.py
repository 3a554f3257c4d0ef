"""Does each task go to one person at a time, and does each decision count exactly once?"""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from services.review_ui.tasks import claim, decide, undo
from services.review_ui.tasks.claim import Lease
from services.review_ui.tasks.decide import Decided, Refused, StaleLease, Verdict
from services.review_ui.tasks.filters import TaskFilter
from services.review_ui.tasks.undo import Undone
from shared.events.models import ItemReviewed
from shared.storage.outbox import publish_due
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.review_service import (
    START,
    TRACEPARENT,
    TurnedClock,
    requested,
    take_in,
    task_id,
)

Row = TypeVar("Row", ReviewDecision, Outbox)
LABELS = ("negative", "positive")
UNDO_SECONDS = 5.0
LEASE_SECONDS = 300.0


class Desk:
    """The data layer with a clock, one transaction a call."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.clock = TurnedClock()

    def claim(self, reviewer: str, count: int = 1, **filters: str) -> list[ReviewTask]:
        workflows = [filters.pop("workflow")] if "workflow" in filters else ["sentiment"]
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return claim.claim(
                session,
                reviewer,
                workflows=workflows,
                count=count,
                now=self.clock(),
                lease_seconds=LEASE_SECONDS,
                wanted=TaskFilter(queue=filters.get("queue")),
            )

    def decide(
        self,
        reviewer: str,
        task: ReviewTask,
        action: decide.Action = "correct",
        label: str | None = "negative",
        *,
        key: UUID | None = None,
        **more: object,
    ) -> Decided | StaleLease:
        verdict = Verdict(
            key=key or uuid4(),
            task_id=task.id,
            lease_token=task.lease_token,
            action=action,
            label=label if action == "correct" else None,
            **more,  # type: ignore[arg-type]  # reason and note, both texts
        )
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return decide.decide(
                session,
                reviewer,
                verdict,
                labels=LABELS,
                review=ReviewRules(),
                now=self.clock(),
                undo_seconds=UNDO_SECONDS,
            )

    def undo(self, reviewer: str, key: UUID) -> Undone:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            return undo.undo(session, reviewer, key, now=self.clock(), lease_seconds=LEASE_SECONDS)

    def publish(self) -> list[ItemReviewed]:
        """What leaves just now, without a broker."""
        left: list[ItemReviewed] = []

        def take(messages: Sequence[object]) -> None:
            left.extend(
                ItemReviewed.model_validate_json(message.body)  # type: ignore[attr-defined]
                for message in messages
            )

        publish_due(self.engine, take, self.clock())
        return left

    def task(self, item_id: str) -> ReviewTask:
        with Session(self.engine) as session:
            return session.query(ReviewTask).filter_by(item_id=item_id).one()

    def rows(self, table: type[Row]) -> list[Row]:
        with Session(self.engine, expire_on_commit=False) as session:
            return list(session.scalars(select(table).order_by(text("id"))))


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


# -- claiming --------------------------------------------------------------------------------


def test_eight_reviewers_claiming_five_hundred_tasks_never_share_one(desk: Desk) -> None:
    # Given 500 tasks
    take_in(desk.engine, *(requested(f"i{n}") for n in range(500)))
    together = threading.Barrier(8)

    # If eight reviewers claim seven at a time, all at once, until nothing is left
    def work(reviewer: str) -> list[str]:
        together.wait()
        got: list[str] = []
        while claimed := desk.claim(reviewer, 7):
            got += [task.item_id for task in claimed]
        return got

    with ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(work, (f"r{n}" for n in range(8))))
    # I expect every task with exactly one of them
    counted = Counter(item for share in shares for item in share)
    assert len(counted) == 500
    assert set(counted.values()) == {1}
    assert sum(1 for share in shares if share) > 1


def test_the_most_urgent_comes_first(desk: Desk) -> None:
    # Given tasks that differ in due time, priority, certainty and age
    soon, later = START + timedelta(minutes=5), START + timedelta(hours=5)
    take_in(desk.engine, requested("old"))
    desk.clock.turn(1)
    for event in (
        requested("young"),
        requested("unsure", confidence=0.55),
        requested("important", priority=9, confidence=0.99),
        requested("later", due_at=later, priority=9),
        requested("soon", due_at=soon),
    ):
        take_in(desk.engine, event, clock=desk.clock)
    # If I claim them all, I expect: due time, priority, uncertainty, age
    got = [task.item_id for task in desk.claim("ada", 10)]
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
    desk: Desk, urgencies: list[tuple[int | None, int, float]]
) -> None:
    # Given any tasks
    with desk.engine.begin() as connection:
        connection.execute(text("TRUNCATE review_task CASCADE"))
    events = []
    for number, (hours, priority, confidence) in enumerate(urgencies):
        due_at = None if hours is None else START + timedelta(hours=hours)
        events.append(
            requested(str(number), due_at=due_at, priority=priority, confidence=confidence)
        )
    take_in(desk.engine, *events)
    # If they are claimed one by one and two by two
    got: list[tuple[int | None, int, float]] = []
    while claimed := desk.claim("ada", 1 + len(got) % 2):
        got += [urgencies[int(task.item_id)] for task in claimed]
    # I expect due time, then priority, then uncertainty
    never = 99
    keys = [(never if due is None else due, -priority, conf) for due, priority, conf in got]
    assert keys == sorted(keys)
    assert len(got) == len(urgencies)


def test_only_the_asked_workflow_and_queue_are_claimed(desk: Desk) -> None:
    # Given tasks of two workflows and two queues
    take_in(
        desk.engine,
        requested("a"),
        requested("b", queue="support"),
        requested("c", workflow="spam", queue="support"),
    )
    # If I claim with filters, I expect only what I asked for
    assert [task.item_id for task in desk.claim("ada", 9, queue="support")] == ["b"]
    assert [task.item_id for task in desk.claim("ada", 9, workflow="spam")] == ["c"]
    assert [task.item_id for task in desk.claim("ada", 9)] == ["a"]


def test_what_i_skipped_comes_back_to_others_first(desk: Desk) -> None:
    # Given two tasks, the first of which I skip
    take_in(desk.engine, requested("hard", priority=9), requested("easy"))
    (hard,) = desk.claim("ada")
    desk.decide("ada", hard, "skip")
    # I expect the other one next, while somebody else gets the skipped one
    assert [task.item_id for task in desk.claim("ada")] == ["easy"]
    (task,) = desk.claim("bob")
    assert task.item_id == "hard"
    # and once nothing else is left, it is mine again
    with Session(desk.engine) as session, session.begin():
        claim.release(session, "bob", [Lease(task.id, task.lease_token)])
    assert [task.item_id for task in desk.claim("ada")] == ["hard"]


def test_a_lease_that_runs_out_frees_its_task_under_a_new_token(desk: Desk) -> None:
    # Given a task that Ada took and left
    take_in(desk.engine, requested("i1"))
    (adas,) = desk.claim("ada")
    assert desk.claim("bob") == []
    # If her lease runs out
    desk.clock.turn(LEASE_SECONDS)
    # I expect it to be Bob's, under a higher token
    (bobs,) = desk.claim("bob")
    assert bobs.item_id == "i1"
    assert bobs.lease_token == adas.lease_token + 1


def test_a_heartbeat_extends_what_is_still_mine_and_names_what_is_not(desk: Desk) -> None:
    # Given two leased tasks, one of which goes to Bob
    take_in(desk.engine, requested("mine"), requested("gone"))
    leases = {task.item_id: Lease(task.id, task.lease_token) for task in desk.claim("ada", 2)}
    with Session(desk.engine) as session, session.begin():
        claim.release(session, "ada", [leases["gone"]])
    desk.claim("bob")
    # If Ada's page sends its heartbeat shortly before the end
    desk.clock.turn(LEASE_SECONDS - 1)
    with Session(desk.engine) as session, session.begin():
        held = claim.heartbeat(
            session, "ada", list(leases.values()), now=desk.clock(), lease_seconds=LEASE_SECONDS
        )
    # I expect the first to be extended, the other lost
    assert held == {task_id("mine"): desk.clock() + timedelta(seconds=LEASE_SECONDS)}
    desk.clock.turn(2)
    assert [task.item_id for task in desk.claim("cleo", 9)] == ["gone"]  # Bob's has run out


def test_nobody_extends_or_releases_a_lease_of_somebody_else(desk: Desk) -> None:
    # Given Ada's lease, whose number Bob has guessed
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    lease = Lease(task.id, task.lease_token)
    with Session(desk.engine) as session, session.begin():
        # If Bob uses it, I expect nothing to happen
        assert not claim.heartbeat(
            session, "bob", [lease], now=desk.clock(), lease_seconds=LEASE_SECONDS
        )
        assert claim.release(session, "bob", [lease]) == 0
    assert isinstance(desk.decide("bob", task), StaleLease)
    assert desk.task("i1").leased_by == "ada"


# -- deciding --------------------------------------------------------------------------------


def test_a_decision_and_its_event_commit_together(desk: Desk) -> None:
    # Given a claimed task
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    desk.clock.turn(12)
    # If I correct it
    outcome = desk.decide("ada", task, "correct", "negative", note="irony")
    # I expect the task decided
    assert isinstance(outcome, Decided)
    decided = desk.task("i1")
    assert (decided.status, decided.revision, decided.leased_by) == ("decided", 1, None)
    # and, once nobody can undo it unseen any more, a complete event
    assert desk.publish() == []
    desk.clock.turn(UNDO_SECONDS)
    (event,) = desk.publish()
    assert (event.decision.label, event.decision.ai_label) == ("negative", "positive")
    assert (event.decision.action, event.decision.reviewer) == ("corrected", "ada")
    assert event.decision.decided_by == "human"
    assert event.review.revision == 1
    assert event.review.seconds == 12
    assert (event.review.ai_label_shown, event.review.note) == (True, "irony")
    assert event.item.text == "a film of two halves"
    # in the producer's trace, and only once
    (row,) = desk.rows(Outbox)
    assert row.headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
    assert row.routing_key == "item.reviewed.sentiment"
    assert desk.publish() == []


def test_choosing_the_label_of_the_ai_is_accepting_it(desk: Desk) -> None:
    take_in(desk.engine, requested("i1"), requested("i2"))
    one, other = desk.claim("ada", 2)
    desk.decide("ada", one, "accept")
    desk.decide("ada", other, "correct", "positive")
    desk.clock.turn(UNDO_SECONDS)
    assert [event.decision.action for event in desk.publish()] == ["accepted", "accepted"]


def test_the_same_key_again_answers_the_same_and_does_nothing(desk: Desk) -> None:
    # Given a decision whose answer got lost on its way
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    first = desk.decide("ada", task, key=key)
    # If it is sent again, also much later
    desk.clock.turn(1_000)
    again = desk.decide("ada", task, key=key)
    # I expect the same answer and one decision
    assert isinstance(first, Decided)
    assert isinstance(again, Decided)
    assert again.replayed
    assert (again.row.id, again.undo_until) == (first.row.id, first.undo_until)
    assert len(desk.rows(ReviewDecision)) == len(desk.rows(Outbox)) == 1
    # and a key that is used for something else is refused
    with pytest.raises(Refused) as refused:
        desk.decide("ada", task, "correct", "positive", key=key)
    assert refused.value.code == "key_reused"


def test_many_identical_requests_at_once_are_one_decision(desk: Desk) -> None:
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: desk.decide("ada", task, key=key), range(8)))
    assert all(isinstance(outcome, Decided) for outcome in outcomes)
    assert sum(1 for outcome in outcomes if not outcome.replayed) == 1
    assert len(desk.rows(Outbox)) == 1


def test_different_decisions_at_once_give_one_that_counts(desk: Desk) -> None:
    # Given a task open in two tabs of the same reviewer
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    # If eight different decisions arrive at once
    labels = ["negative", "positive"] * 4
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda label: desk.decide("ada", task, "correct", label), labels))
    # I expect one to count, and the others on record
    assert sum(isinstance(outcome, Decided) for outcome in outcomes) == 1
    rows = desk.rows(ReviewDecision)
    assert len(rows) == 8
    assert [row.effective for row in rows].count(True) == 1
    assert len(desk.rows(Outbox)) == 1


def test_a_decision_with_a_stale_token_is_recorded_and_changes_nothing(desk: Desk) -> None:
    # Given a task that Bob took over after Ada's lease had run out
    take_in(desk.engine, requested("i1"))
    (adas,) = desk.claim("ada")
    desk.clock.turn(LEASE_SECONDS + 1)
    (bobs,) = desk.claim("bob")
    # If Ada's page sends her decision all the same
    key = uuid4()
    late = desk.decide("ada", adas, "correct", "negative", key=key)
    # I expect a clear answer, a record, and Bob undisturbed
    assert isinstance(late, StaleLease)
    assert "does not count" in late.text
    assert isinstance(desk.decide("ada", adas, "correct", "negative", key=key), StaleLease)
    assert isinstance(desk.decide("bob", bobs, "accept"), Decided)
    ineffective, effective = desk.rows(ReviewDecision)
    assert (ineffective.reviewer, ineffective.effective, ineffective.label) == (
        "ada",
        False,
        "negative",
    )
    assert (effective.reviewer, effective.effective) == ("bob", True)
    # and what did not count cannot be undone
    with pytest.raises(Refused) as refused:
        desk.undo("ada", key)
    assert refused.value.code == "did_not_count"


def test_my_own_older_tab_is_late_too(desk: Desk) -> None:
    # Given a task that ran out in one tab and that I got again in another
    take_in(desk.engine, requested("i1"))
    (older,) = desk.claim("ada")
    desk.clock.turn(LEASE_SECONDS)
    (newer,) = desk.claim("ada")
    # If both decide, I expect the newer lease to count, and only that
    assert isinstance(desk.decide("ada", older, "correct", "negative"), StaleLease)
    assert isinstance(desk.decide("ada", newer, "correct", "positive"), Decided)


def test_a_lease_that_ran_out_still_counts_while_nobody_took_the_task(desk: Desk) -> None:
    # Given a reviewer who was offline longer than the lease
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    desk.clock.turn(LEASE_SECONDS * 10)
    # If the decision arrives at last, I expect it to count: the token is still the newest
    assert isinstance(desk.decide("ada", task), Decided)


@pytest.mark.parametrize(
    ("action", "label", "code"),
    [
        ("correct", None, "label_required"),
        ("correct", "ironic", "unknown_label"),
        ("flag", None, "reason_required"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(
    desk: Desk, action: decide.Action, label: str | None, code: str
) -> None:
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    with pytest.raises(Refused) as refused:
        desk.decide("ada", task, action, label)
    assert refused.value.code == code
    assert desk.rows(ReviewDecision) == []


def test_a_blind_item_cannot_be_accepted_unseen(desk: Desk) -> None:
    # Given an item of the audit panel
    take_in(desk.engine, requested("i1", blind=True))
    (task,) = desk.claim("ada")
    # If I accept what I was not shown, I expect to be asked for a label
    with pytest.raises(Refused) as refused:
        desk.decide("ada", task, "accept")
    assert refused.value.code == "blind"
    # and a label counts, with the fact on record that the AI's was hidden
    desk.decide("ada", task, "correct", "positive")
    desk.clock.turn(UNDO_SECONDS)
    (event,) = desk.publish()
    assert (event.decision.action, event.review.ai_label_shown) == ("accepted", False)
    assert event.decision.sampling is not None
    assert event.decision.sampling.on_panel


def test_a_flagged_task_leaves_the_queue(desk: Desk) -> None:
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    assert isinstance(desk.decide("ada", task, "flag", reason="private", key=key), Decided)
    assert desk.claim("bob") == []
    assert desk.task("i1").status == "flagged"
    assert desk.rows(Outbox) == []
    # and comes back when the flag is taken back
    undone = desk.undo("ada", key)
    assert undone.task is not None
    assert desk.task("i1").status == "open"


# -- undoing ---------------------------------------------------------------------------------


def test_an_undo_in_time_leaves_no_trace_downstream(desk: Desk) -> None:
    # Given a decision of four seconds ago
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    desk.decide("ada", task, "correct", "negative", key=key)
    desk.clock.turn(4)
    # If it is taken back, twice, as a browser might that got no answer
    undone, again = desk.undo("ada", key), desk.undo("ada", key)
    # I expect the task in my hands under a new token, and nothing to be published
    assert undone.task is not None
    assert again.task is not None
    assert (undone.published, again.published) == (False, False)
    assert undone.task.lease_token == again.task.lease_token == task.lease_token + 1
    desk.clock.turn(60)
    assert desk.publish() == []
    # and the new decision is the first that anybody hears of
    assert isinstance(desk.decide("ada", undone.task, "correct", "positive"), Decided)
    desk.clock.turn(60)
    (event,) = desk.publish()
    assert (event.decision.label, event.review.revision) == ("positive", 1)


def test_an_undo_after_publication_makes_the_next_decision_a_new_revision(desk: Desk) -> None:
    # Given a decision that has left
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    desk.decide("ada", task, "correct", "negative", key=key)
    desk.clock.turn(UNDO_SECONDS)
    (first,) = desk.publish()
    # If it is taken back and decided otherwise
    undone = desk.undo("ada", key)
    assert undone.published
    assert desk.undo("ada", key).published
    assert undone.task is not None
    desk.decide("ada", undone.task, "correct", "positive")
    desk.clock.turn(UNDO_SECONDS)
    # I expect a second event with an id of its own
    (second,) = desk.publish()
    assert (first.review.revision, second.review.revision) == (1, 2)
    assert first.event_id != second.event_id
    assert second.decision.label == "positive"


def test_an_undo_never_withdraws_what_a_dead_relay_may_have_sent(desk: Desk) -> None:
    # Given a relay that died after publishing, before it could mark the row
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    key = uuid4()
    desk.decide("ada", task, "correct", "negative", key=key)
    desk.clock.turn(UNDO_SECONDS)

    def die(_messages: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_due(desk.engine, die, desk.clock())
    # If the decision is undone now and made anew
    undone = desk.undo("ada", key)
    assert undone.task is not None
    desk.decide("ada", undone.task, "correct", "positive")
    desk.clock.turn(UNDO_SECONDS)
    # I expect two different events, so that whoever saw the first hears of the second
    assert [event.review.revision for event in desk.publish()] == [1, 2]


def test_an_undo_that_meets_the_relay_ends_one_way_or_the_other(desk: Desk) -> None:
    # Given decisions whose time is just up, undone while the relay publishes
    take_in(desk.engine, *(requested(f"i{n}") for n in range(20)))
    claimed = desk.claim("ada", 20)
    keys = {task.item_id: uuid4() for task in claimed}
    for task in claimed:
        desk.decide("ada", task, "correct", "negative", key=keys[task.item_id])
    desk.clock.turn(UNDO_SECONDS - 1)
    early = TurnedClock(desk.clock.now)
    late = TurnedClock(desk.clock.now + timedelta(seconds=1))
    sent: list[str] = []

    def relay() -> None:
        for _ in range(5):
            publish_due(desk.engine, lambda batch: sent.extend(m.message_id for m in batch), late())

    def undo_early(item_id: str) -> Undone:
        with Session(desk.engine, expire_on_commit=False) as session, session.begin():
            return undo.undo(
                session, "ada", keys[item_id], now=early(), lease_seconds=LEASE_SECONDS
            )

    with ThreadPoolExecutor(6) as pool:
        publishing = pool.submit(relay)
        undone = dict(zip(keys, pool.map(undo_early, keys), strict=True))
        publishing.result()
    # I expect: what was withdrawn was not sent, what was sent is known to be
    withdrawn = {item_id for item_id, each in undone.items() if not each.published}
    with Session(desk.engine) as session:
        for item_id in keys:
            task = session.get_one(ReviewTask, task_id(item_id))
            assert task.status == "open"
            assert task.revision == (0 if item_id in withdrawn else 1)
    assert len(sent) == len(set(sent)) == len(keys) - len(withdrawn)


def test_only_the_decision_that_stands_can_be_undone_and_only_by_its_maker(desk: Desk) -> None:
    # Given a decision of Ada's that was reopened and decided by Bob
    take_in(desk.engine, requested("i1"))
    (task,) = desk.claim("ada")
    adas, second, bobs = uuid4(), uuid4(), uuid4()
    desk.decide("ada", task, key=adas)
    # If somebody else undoes it, I expect it not to be found
    with pytest.raises(Refused) as refused:
        desk.undo("bob", adas)
    assert refused.value.code == "no_such_decision"
    reopened = desk.undo("ada", adas).task
    assert reopened is not None
    desk.decide("ada", reopened, "skip", key=second)
    (again,) = desk.claim("bob")
    desk.decide("bob", again, "accept", key=bobs)
    # and undoing the skip now takes nothing from Bob
    assert desk.undo("ada", second).task is None
    assert desk.task("i1").status == "decided"
