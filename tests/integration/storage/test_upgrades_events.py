"""While a deployment is half upgraded, what do old readers make of a newer writer's events?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from services.router.handler import Router
from services.router.policy import Policy
from shared.clock import utc_now
from shared.events import envelope
from shared.events.envelope import encode
from shared.events.models import Event, ItemScored
from shared.events.registry import REGISTRY
from shared.messages import Handler
from shared.messaging.connection import declare_all
from shared.topology import LOG_QUEUE, ROUTER_QUEUE
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.filled_database import logger_on
from tests.support.item_events import TRACEPARENT, Journey
from tests.support.service_workers import TOPOLOGY, working


def services(engine: Engine) -> list[tuple[str, Handler]]:
    """A router and a logger."""
    router = Router(lambda _: Policy(threshold=0.5), salt="s", clock=utc_now)
    return [
        (ROUTER_QUEUE, router),
        (LOG_QUEUE, logger_on(engine)),
    ]


def from_newer_writer(program: Outsider, event: Event, *, version: str, kind: str = "") -> None:
    """The event as a later release writes it: with fields that we do not know."""
    message = encode(event, source="inference", traceparent=TRACEPARENT)
    kind = kind or event.type
    body = json.loads(message.body)
    body["prediction"]["calibrated_on"] = "2031-05"
    program.publish(
        json.dumps({**body, "energy_joules": 0.2}),
        exchange="hitl.events",
        routing_key=f"{kind}.sentiment",
        message_id=message.message_id,
        headers={
            **message.headers,
            "cloudEvents_type": kind,
            "cloudEvents_schemaversion": version,
            "cloudEvents_energy": "measured",
        },
    )


def statuses(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT id, status FROM item"))
        return {row.id: row.status for row in rows}


def letters(program: Outsider) -> dict[str, int]:
    return {queue: program.ready(f"{queue}.dlq") for queue in (ROUTER_QUEUE, LOG_QUEUE)}


def dlq(*words: str) -> Result:
    return CliRunner().invoke(app, ["dlq", *words])


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What a release knows never changes while it runs, so it is remembered: not beyond a test."""
    yield
    envelope._model.cache_clear()


@pytest.fixture
def program(amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outsider]:
    monkeypatch.setenv("AMQP_URL", amqp_url)
    monkeypatch.setenv("HITL_HOME", str(tmp_path))
    declare_all(amqp_url, TOPOLOGY)
    with outsider(amqp_url) as one:
        yield one


def test_events_of_a_newer_writer_are_read_or_kept_and_go_through_after_the_upgrade(
    program: Outsider, amqp_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given readers of today, and a writer of a later release that was upgraded before them
    grown, changed = Journey("grown").scored(), Journey("changed").scored()
    with working(amqp_url, services(engine)) as running:
        # If it sends an event with fields that nobody here knows,
        from_newer_writer(program, grown, version="1")
        # one of a later version, and one of a type that does not exist yet,
        from_newer_writer(program, changed, version="9")
        from_newer_writer(program, changed, version="1", kind="item.appealed")
        # and a writer of today goes on beside it
        today = encode(Journey("today").scored(), source="inference", traceparent=TRACEPARENT)
        program.publish(
            today.body,
            exchange="hitl.events",
            routing_key=today.routing_key,
            headers=dict(today.headers),
        )
        # I expect what only has more fields to be read, and nobody to be held up;
        until(lambda: statuses(engine).get("today") == "AI_ACCEPTED", what="today's item")
        until(lambda: statuses(engine).get("grown") == "AI_ACCEPTED", what="the grown event")
        # what cannot be read to be set aside, whole, with the reason, and shown as failed.
        until(lambda: letters(program) == {ROUTER_QUEUE: 1, LOG_QUEUE: 2}, what="dead letters")
        until(lambda: statuses(engine).get("changed") == "FAILED", what="the failure to show")
        assert all(not life.problems() for life in running)
        for line in dlq("list", "--json").stdout.splitlines():
            found = json.loads(line)
            assert set(found["reasons"]) <= {"unknown_type"}, found
        assert "no event 'item.scored' of version '9' is known" in dlq("show", "--json").stdout
        # A redrive before the upgrade changes nothing: they come back.
        assert "3 messages requeued" in dlq("redrive", "--reason", "unknown_type", "--yes").stderr
        until(lambda: letters(program) == {ROUTER_QUEUE: 1, LOG_QUEUE: 2}, what="them to be back")
    # If the readers are upgraded to a release that knows the later version
    monkeypatch.setitem(REGISTRY, ("item.scored", 9), ItemScored)
    with working(amqp_url, services(engine)):
        # and what was set aside is put back
        put = dlq("redrive", "--reason", "unknown_type", "--item", "changed", "--yes")
        assert "3 messages requeued" in put.stderr, put.output
        # I expect it to go its way, routed and logged like any other;
        until(lambda: statuses(engine).get("changed") == "AI_ACCEPTED", what="the later version")
        until(lambda: letters(program) == {ROUTER_QUEUE: 0, LOG_QUEUE: 1}, what="the rest to stay")
    # what this release does not know either is still there; every item came through once.
    accepted = program.drain("hitl.sentiment.accepted")
    ids = [json.loads(message.body)["item"]["id"] for message in accepted]
    assert sorted(ids) == ["changed", "grown", "today"]


def test_a_stream_that_readers_cannot_read_waits_in_the_queue(
    program: Outsider, amqp_url: str, engine: Engine
) -> None:
    # Given a reader of today and a writer that sends nothing but a later version
    count = 200
    for number in range(count):
        from_newer_writer(program, Journey(f"item {number}").scored(), version="9")
    with working(amqp_url, services(engine)[:1]) as (router,):
        # I expect the reader to stop taking, and to say so: not one queue emptied into another.
        until(lambda: "dead_letters" in router.problems(), what="the circuit breaker")
        until(lambda: letters(program)[ROUTER_QUEUE] >= 50, what="dead letters")
    # Every message is in one of the two.
    dead = letters(program)[ROUTER_QUEUE]
    assert 50 <= dead < count
    until(lambda: program.ready(ROUTER_QUEUE) == count - dead, what="the rest in the queue")
