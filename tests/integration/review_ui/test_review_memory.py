"""Does what the review service does all day leave rubbish that only Python's collector clears?

It runs every 100 000 objects (shared/messaging/worker.py): what it has to clear until then is
memory that grows, some 20 MB, also while nobody works.
"""

import gc
from collections import Counter
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.tasks.highlights import find
from services.review_ui.webhooks.post import Answer
from services.review_ui.webhooks.sender import Sender
from shared.clock import utc_now
from shared.storage.outbox import oldest_due_seconds, publish_due
from shared.workflows.files import ReviewRules
from tests.support.review_data import ReviewRoom, lease_of
from tests.support.review_service import requested, take_in


def left_by(call: Callable[[], object], times: int = 10) -> Counter[str]:
    """What `times` calls leave to the collector, by type; the first calls may fill caches."""
    for _ in range(3):
        call()
    gc.collect()
    gc.disable()
    try:
        gc.set_debug(gc.DEBUG_SAVEALL)
        for _ in range(times):
            call()
        gc.collect()
        return Counter(type(each).__qualname__ for each in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def test_a_service_that_waits_leaves_nothing_to_collect(engine: Engine) -> None:
    # Given a service with nothing to do, which looks several times a second whether there is
    sender = Sender(engine, lambda *_: Answer(200, None), utc_now, [1.0])
    # I expect no look to leave anything behind
    assert left_by(lambda: sender.look()) == Counter()
    assert left_by(lambda: publish_due(engine, lambda _: None, utc_now())) == Counter()
    assert left_by(lambda: oldest_due_seconds(engine, utc_now())) == Counter()


def test_a_reviewer_at_work_leaves_nothing_to_collect(engine: Engine) -> None:
    # Given tasks in a reviewer's hands
    take_in(engine, *(requested(f"i{number}") for number in range(40)))
    room = ReviewRoom(engine, ReviewRules())
    held = room.claim("ada", 8)
    leases = [lease_of(task) for task in held]

    def weighed() -> None:
        with Session(engine) as session:
            find(session, held)

    def decide() -> None:
        (task,) = room.claim("bob")
        room.decide("bob", task, "positive")
        assert len(room.published_at_last()) == 1

    # If the page claims, extends, gives back and decides, as it does all day, I expect the same
    assert left_by(lambda: room.heartbeat("ada", leases)) == Counter()
    assert left_by(lambda: room.release("carl", leases)) == Counter()
    assert left_by(weighed) == Counter()
    assert left_by(decide) == Counter()
