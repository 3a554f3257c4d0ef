"""Does the certifier give way to the load, but not too far, and audit more when scores drift?"""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, delete
from sqlalchemy.orm import Session

from shared.events.live_policy import LiveRoute
from shared.storage.tables import ReviewTask
from tests.support.audited_stream import AuditedStream


@pytest.fixture
def world(engine: Engine) -> AuditedStream:
    return AuditedStream(engine)


def due_tasks(world: AuditedStream, count: int) -> None:
    """Open tasks that are due in an hour."""
    with Session(world.engine) as session, session.begin():
        for _ in range(count):
            session.add(
                ReviewTask(
                    id=uuid4(),
                    workflow="sentiment",
                    item_id=str(uuid4()),
                    queue="desk",
                    priority=0,
                    uncertainty=0.5,
                    due_at=world.now + timedelta(hours=1),
                    blind=False,
                    item={},
                    prediction={"label": "positive"},
                    routing={},
                    traceparent="",
                    created_at=world.now,
                )
            )


def done(world: AuditedStream) -> None:
    with Session(world.engine) as session, session.begin():
        session.execute(delete(ReviewTask))


def test_the_threshold_gives_way_to_the_load_as_far_as_is_certified(world: AuditedStream) -> None:
    # Given a certificate that reaches further than is wished
    world.certify()
    world.use(threshold=0.8)
    wished = world.look()
    assert wished.threshold is not None and wished.certified_threshold is not None
    assert wished.threshold >= 0.8 > wished.certified_threshold
    # If there are tasks that nobody will do in time / I expect the certified threshold, no looser
    due_tasks(world, 3)
    loosened = world.look()
    assert loosened.state == "certified"
    assert loosened.threshold == loosened.certified_threshold == wished.certified_threshold
    assert "loosened" in loosened.reason
    assert loosened.certificate_version == wished.certificate_version
    # If they are done / I expect the wished one again
    done(world)
    assert world.look().threshold == wished.threshold


def test_without_a_certificate_tasks_wait_whatever_the_load(world: AuditedStream) -> None:
    world.stream(250)
    world.look()
    due_tasks(world, 100)
    assert world.look().threshold is None


def watched(world: AuditedStream) -> LiveRoute:
    """A certificate, and the epoch's first scores known."""
    world.certify()
    world.stream(500)
    live = world.look()
    assert live.panel_rate == 0.05
    return live


def test_scores_unlike_the_first_ones_raise_the_panels_rate_for_a_week(
    world: AuditedStream,
) -> None:
    # Given a certificate / If scores go on as they were / I expect no warning
    watched(world)
    world.stream(600)
    assert world.look().panel_rate == 0.05
    # If a day's scores are unlike them / I expect a quarter to be audited, at the same threshold
    before = world.live
    assert before is not None
    world.now += timedelta(hours=23)
    world.stream(700, low=0.5, high=0.8)
    live = world.look()
    assert (live.state, live.panel_rate) == ("certified", 0.25)
    assert live.threshold == before.threshold
    assert {c.sampling.q for c in world.stream(20)} == {0.25}
    # whoever looks, until a week has passed without another warning
    assert world.another().look(world.policy, world.now).panel_rate == 0.25
    for _ in range(8):
        world.now += timedelta(days=1)
        world.stream(400)
        live = world.look()
    assert (live.state, live.panel_rate) == ("certified", 0.05)
