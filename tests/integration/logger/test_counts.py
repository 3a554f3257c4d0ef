"""Do the counts that alerts rest on start where a rate can see them, and say what is overdue?"""

import threading
from datetime import timedelta
from uuid import uuid4

from prometheus_client import REGISTRY
from sqlalchemy import Engine

from services.review_ui.app import make_context
from services.review_ui.outbox.relay import Relay
from services.router.handler import Router
from shared.clock import utc_now
from shared.messaging.connection import Broker
from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import topology
from shared.workflows.files import Workflow
from tests.support.review_service import (
    START,
    TurnedClock,
    make_test_context,
    no_broker,
    requested,
    serving,
    take_in,
)


def counted(name: str, **labels: str) -> float | None:
    """What /metrics would show; None for no such line."""
    return REGISTRY.get_sample_value(name, labels)


def test_reviews_and_routes_of_a_workflow_are_counted_from_zero_on(engine: Engine) -> None:
    # Given a workflow without traffic / If its services are put together
    name = "counted-from-zero"
    workflow = Workflow(name=name, labels=("negative", "positive"))
    assert counted("hitl_reviews_total", workflow=name, action="accept") is None
    make_context(
        Settings(),
        {name: workflow},
        engine,
        utc_now,
        lambda _path: (200, "", b""),
        no_broker,
    )
    Router(lambda _name: None, salt="", clock=utc_now, workflows=[name])
    # I expect every action, and every common reason, at 0
    for action in ("accept", "correct", "label", "skip", "flag"):
        assert counted("hitl_reviews_total", workflow=name, action=action) == 0
    for route, reason in (("accept", "confident"), ("review", "below_threshold")):
        labels = {"workflow": name, "route": route, "reason": reason}
        assert counted("hitl_routes_total", **labels) == 0


def test_overdue_tasks_are_counted(engine: Engine, amqp_url: str) -> None:
    # Given a task that is due in an hour, one in a day, and one that never is
    due = (START + timedelta(hours=1), START + timedelta(days=1), None)
    take_in(engine, *(requested(f"i{number}", due_at=at) for number, at in enumerate(due)))
    clock = TurnedClock()
    broker = Broker(amqp_url, name="test-counts", topology=topology(["sentiment"], [5]))
    broker.start()
    try:
        assert broker.wait_ready(20)
        for hours, overdue in ((0, 0), (2, 1), (23, 2)):
            # If time passes / I expect those whose time is over, and no other
            clock.turn(hours * 3_600)
            once = threading.Event()
            once.set()
            Relay(engine, broker, clock).run(once)
            assert counted("hitl_review_tasks", workflow="sentiment", status="open") == 3
            assert counted("hitl_review_tasks_overdue", workflow="sentiment") == overdue
    finally:
        broker.close()


def test_metrics_do_not_tell_what_the_ai_said_of_a_blind_item(engine: Engine) -> None:
    # Given a blind item, and whoever may open /metrics, which asks nobody for a name
    clock = TurnedClock()
    take_in(engine, requested("blind", label="positive", blind=True))
    context = make_test_context(engine, clock, Lifecycle())

    def shown() -> dict[str, float]:
        actions = ("accept", "correct", "label")
        found = {a: counted("hitl_reviews_total", workflow="sentiment", action=a) for a in actions}
        return {action: value or 0.0 for action, value in found.items()}

    before = shown()
    with serving(context, clock) as served, served.logged_in("eve") as eve:
        (task,) = eve.post("/api/v1/tasks/claim", json={}).json()["tasks"]
        body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "correct"}
        url = f"/api/v1/tasks/{task['id']}/decision"
        # If it is decided, I expect it to be counted, and not by what it amounts to
        assert eve.post(url, json=body | {"label": "negative"}).status_code == 200
    assert shown() == before | {"label": before["label"] + 1}
