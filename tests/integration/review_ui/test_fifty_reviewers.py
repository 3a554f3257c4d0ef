"""Fifty people at once, whose pages crash: is every item decided exactly once?"""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from services.review_ui.tasks import decide
from services.review_ui.tasks.decide import Decided, DecisionRequest
from shared.answers.base import AnswerSpec
from shared.events.models import ItemReviewed
from shared.storage.database import connect
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.review_data import LABELS, LEASE_SECONDS, UNDO_SECONDS, ReviewRoom
from tests.support.review_service import requested, take_in

PEOPLE = [f"r{number:02}" for number in range(50)]
LEADS = PEOPLE[:5]


class PageDied(Exception):
    """The page went away in the middle of a request, or before it heard the answer."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url, pool_size=12)
    yield engine
    engine.dispose()


@pytest.fixture
def items(request: pytest.FixtureRequest) -> int:
    return 20_000 if request.config.getoption("--soak") else 2_000


@pytest.mark.timeout(900)
def test_fifty_reviewers_whose_pages_crash_decide_every_item_once(
    engine: Engine, items: int
) -> None:
    # Given many items, of which a twentieth is checked, and an impatient clock
    room = ReviewRoom(engine, ReviewRules(second_review_share=0.05), LEADS)
    for start in range(0, items, 1_000):
        take_in(engine, *(requested(f"i{n}") for n in range(start, start + 1_000)))
    together = threading.Barrier(len(PEOPLE))
    turning = threading.Lock()
    crashed: list[str] = []
    busy: set[str] = set()

    def open_items() -> int:
        with Session(engine) as session:
            waiting = select(func.count()).select_from(ReviewTask)
            return session.scalar(waiting.where(ReviewTask.status != "decided")) or 0

    def dies_before_the_commit(reviewer: str, task: ReviewTask, label: str) -> None:
        request = DecisionRequest(uuid4(), task.id, task.lease_token, "correct", label)
        with Session(engine) as session, session.begin():
            decide.decide(
                session,
                reviewer,
                request,
                spec=AnswerSpec(labels=LABELS),
                review=room.review,
                now=room.clock(),
                undo_seconds=UNDO_SECONDS,
            )
            raise PageDied

    def work(reviewer: str) -> None:
        chance = random.Random(reviewer)
        together.wait()
        while True:
            if chance.random() < 0.01:  # everybody's leases end, in the middle of their work
                with turning:
                    room.clock.turn(LEASE_SECONDS)
            with turning:
                busy.add(reviewer)
            claimed = room.claim(reviewer, 10)
            if not claimed:
                left = open_items()
                with turning:
                    busy.discard(reviewer)
                    if not busy:  # only what crashed pages hold is left
                        room.clock.turn(LEASE_SECONDS)
                if not left:
                    return
                time.sleep(0.2)
                continue
            try:
                for task in claimed:
                    decide_or_crash(reviewer, task, chance)
            except PageDied:
                crashed.append(reviewer)

    def decide_or_crash(reviewer: str, task: ReviewTask, chance: random.Random) -> None:
        label, fate = chance.choice(LABELS), chance.random()
        if fate < 0.01:
            raise PageDied
        if fate < 0.02:
            dies_before_the_commit(reviewer, task, label)
        key = uuid4()
        first = room.decide(reviewer, task, label, key=key)
        if fate < 0.04:  # the answer got lost: the next page sends the decision again
            again = room.decide(reviewer, task, label, key=key)
            assert again.replayed
            assert isinstance(again, Decided) == isinstance(first, Decided)
        if fate < 0.03:
            raise PageDied

    # If all of them work until nothing is left
    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        for finished in [pool.submit(work, reviewer) for reviewer in PEOPLE]:
            finished.result()
    # I expect that pages crashed,
    assert len(crashed) > items * 0.02
    # one event for each item, and no other,
    with Session(engine) as session:
        events = [
            ItemReviewed.model_validate_json(bytes(body))
            for body in session.scalars(select(Outbox.body))
        ]
        counted = Counter(
            (row.task_id, row.round)
            for row in session.scalars(select(ReviewDecision).where(ReviewDecision.effective))
        )
        late = session.scalar(
            select(func.count()).select_from(ReviewDecision).where(~ReviewDecision.effective)
        )
        decided = session.scalars(select(ReviewTask.revision)).all()
    assert len(events) == items
    assert {event.item.id for event in events} == {f"i{n}" for n in range(items)}
    assert set(decided) == {1}
    # one answer that counts in each round,
    assert set(counted.values()) == {1}
    rounds = Counter(name for _, name in counted)
    assert rounds["first"] == items
    assert 0.02 * items < rounds["second"] < 0.1 * items
    assert 0 < rounds["adjudication"] < rounds["second"]
    # and each that came too late on record.
    print(f"\n{items} items: {dict(rounds)}, {late} late, crashes {len(crashed)}")
