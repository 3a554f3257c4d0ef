"""Whatever people do with a task and in whatever order: does it stay in one piece?"""

from collections import Counter
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from services.review_ui.tasks import gold
from services.review_ui.tasks.decide import NOBODY, Action, Decided, Refused
from services.review_ui.tasks.gold import GoldLine
from shared.events.models import ItemReviewed
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.review_data import LABELS, LEASE_SECONDS, UNDO_SECONDS, ReviewRoom, lease_of
from tests.support.review_service import START, requested, take_in

PEOPLE = ("ada", "bob", "cy", "lea", "lou")
LEADS = ("lea", "lou")
Hand = tuple[str, ReviewTask]
Handed = Hand | MultipleResults[Hand]
Sent = tuple[str, ReviewTask, UUID, str | None, Action]


class TaskLife(RuleBasedStateMachine):
    """Five people, two of them leads, three items and a known one; time passes in jumps."""

    engine: Engine
    hands: Bundle[Hand] = Bundle("hands")
    sent: Bundle[Sent] = Bundle("sent")

    @initialize(
        second=st.sampled_from([0.0, 0.5, 1.0]),
        known=st.sampled_from([0.0, 0.3]),
        panel=st.booleans(),
    )
    def begin(self, second: float, known: float, panel: bool) -> None:
        review = ReviewRules(
            second_review_share=second, seeded_share=known, adjudicate_panel_disagreements=panel
        )
        self.room = ReviewRoom(self.engine, review, LEADS)
        self.left: list[ItemReviewed] = []
        self.holder: dict[UUID, tuple[str, datetime]] = {}
        with self.engine.begin() as connection:
            connection.execute(text("TRUNCATE review_task, outbox, known_item CASCADE"))
        take_in(self.engine, requested("a"), requested("b", blind=True), requested("c"))
        with Session(self.engine) as session, session.begin():
            line = GoldLine(id="k", text="a known one", label="positive")
            gold.add(session, "sentiment", [line], START)

    def _took(self, reviewer: str, task: ReviewTask) -> None:
        """Nobody may have held the task while it was handed out."""
        _, until = self.holder.get(task.id, ("", START))
        assert until <= self.room.clock(), "two leases on one task"
        self._keeps(reviewer, task)

    def _keeps(self, reviewer: str, task: ReviewTask) -> None:
        until = self.room.clock() + timedelta(seconds=LEASE_SECONDS)
        self.holder[task.id] = (reviewer, until)

    @rule(target=hands, reviewer=st.sampled_from(PEOPLE), count=st.integers(1, 3))
    def claim(self, reviewer: str, count: int) -> Handed:
        claimed = self.room.claim(reviewer, count)
        for task in claimed:
            self._took(reviewer, task)
            assert not any(answer["reviewer"] == reviewer for answer in task.answers)
            assert task.seeded_for in (None, reviewer)
            if task.round == "adjudication":
                assert reviewer in LEADS
            elif task.blind:
                seen = self.room.seen(task, reviewer)
                assert (seen.suggestion, seen.answers) == (None, [])
        return multiple(*((reviewer, task) for task in claimed))

    @rule(hand=hands)
    def heartbeat(self, hand: Hand) -> None:
        reviewer, task = hand
        if self.room.heartbeat(reviewer, [lease_of(task)]):
            assert self.holder[task.id][0] == reviewer
            self._keeps(reviewer, task)

    @rule(hand=hands)
    def release(self, hand: Hand) -> None:
        reviewer, task = hand
        if self.room.release(reviewer, [lease_of(task)]):
            assert self.holder.pop(task.id)[0] == reviewer

    @rule(
        target=sent,
        hand=hands,
        action=st.sampled_from(["correct", "correct", "correct", "skip", "flag"]),
        label=st.sampled_from(LABELS),
    )
    def decide(self, hand: Hand, action: Action, label: str) -> Sent:
        reviewer, task = hand
        given = label if action == "correct" else None
        sent = (reviewer, task, uuid4(), given, action)
        outcome = self.room.decide(reviewer, task, given, action, sent[2])
        assert not outcome.replayed
        if isinstance(outcome, Decided):
            assert self.holder.pop(task.id)[0] == reviewer
        return sent

    @rule(again=sent)
    def send_again(self, again: Sent) -> None:
        reviewer, task, key, label, action = again
        assert self.room.decide(reviewer, task, label, action, key).replayed

    @rule(target=hands, mine=consumes(sent))
    def undo(self, mine: Sent) -> Handed:
        reviewer, task, key, *_ = mine
        try:
            undone = self.room.undo(reviewer, key)
        except Refused:
            return multiple()
        if undone.task is None:
            return multiple()
        holder, until = self.holder.get(task.id, (reviewer, START))
        assert holder == reviewer or until <= self.room.clock()
        self._keeps(reviewer, undone.task)
        return reviewer, undone.task

    @rule(target=hands, lead=st.sampled_from(LEADS), item_id=st.sampled_from("abc"))
    def reopen(self, lead: str, item_id: str) -> Handed:
        try:
            task = self.room.reopen(lead, self.room.task(item_id).id)
        except Refused:
            return multiple()
        holder, until = self.holder.get(task.id, (lead, START))
        assert holder == lead or until <= self.room.clock()
        self._keeps(lead, task)
        return lead, task

    @rule(seconds=st.sampled_from([1.0, UNDO_SECONDS, LEASE_SECONDS + 1]))
    def wait(self, seconds: float) -> None:
        self.room.clock.turn(seconds)

    @rule()
    def publish(self) -> None:
        self.left += self.room.publish()

    @precondition(lambda self: hasattr(self, "room"))
    @invariant()
    def it_holds_together(self) -> None:
        with Session(self.engine) as session:
            tasks = session.scalars(select(ReviewTask)).all()
            rows = session.scalars(select(ReviewDecision).order_by(ReviewDecision.id)).all()
            waiting = session.scalars(select(Outbox).order_by(Outbox.id)).all()
        events = [ItemReviewed.model_validate_json(bytes(row.body)) for row in waiting]
        for task in tasks:
            mine = [row for row in rows if row.task_id == task.id]
            standing = [row for row in mine if row.effective and row.undone_at is None]
            self._rounds(task, [row for row in standing if row.label is not None])
            # What the task says of its answers is what the decisions say.
            assert [each["key"] for each in task.answers] == [
                str(row.idempotency_key) for row in standing if row.action != "skip"
            ]
            # One event for each revision that is out or on its way, and none of a gold item.
            revisions = [event.review.revision for event in events if event.item.id == task.item_id]
            if task.seeded_for is not None:
                assert revisions == []
            else:
                assert revisions == list(range(1, task.revision + 1))
            self._lease(task)

    def _rounds(self, task: ReviewTask, labelled: list[ReviewDecision]) -> None:
        counted = Counter(row.round for row in labelled)
        assert counted["first"] <= 1, "two answers that count in one round"
        assert counted["second"] <= 1, "two answers that count in one round"
        checked = [row.reviewer for row in labelled if row.round != "adjudication"]
        assert len(checked) == len(set(checked)), "somebody checked their own answer"
        final = [row.revision for row in labelled if row.revision is not None]
        assert len(final) == len(set(final)), "one revision, two decisions"
        if task.status == "decided":
            assert task.revision in final

    def _lease(self, task: ReviewTask) -> None:
        live = task.leased_by is not None and task.lease_expires_at is not None
        if live and task.lease_expires_at is not None and task.lease_expires_at > self.room.clock():
            assert task.status == "open"
            if task.leased_by == NOBODY:
                assert task.blind
                assert task.round != "first"
                return
            assert self.holder[task.id] == (task.leased_by, task.lease_expires_at)

    def teardown(self) -> None:
        """In the end everything that stands has left, each once and in order."""
        if not hasattr(self, "room"):
            return
        self.room.clock.turn(UNDO_SECONDS)
        self.left += self.room.publish()
        for item_id in "abc":
            left = [event.review.revision for event in self.left if event.item.id == item_id]
            assert left == list(range(1, self.room.task(item_id).revision + 1))
        assert len({event.event_id for event in self.left}) == len(self.left)


def test_a_task_stays_in_one_piece_whatever_happens(engine: Engine) -> None:
    # Given a fresh database; if people do anything in any order, I expect what TaskLife asks for
    TaskLife.engine = engine
    run_state_machine_as_test(
        TaskLife,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
