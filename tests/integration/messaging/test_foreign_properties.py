"""Does somebody else's message keep its properties when it is tried again, set aside, put back?"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hitl.__main__ import app
from shared.errors import Permanent, Retryable
from shared.messages import Delivery, Result
from shared.messaging.connection import declare_all
from shared.messaging.retry import attempts
from shared.topology import ROUTER_QUEUE
from tests.support.amqp_client import outsider, until
from tests.support.service_workers import TOPOLOGY, working

LETTERS = "hitl.router.dlq"
UNROUTABLE = "hitl.unroutable"
# What says something to the producer, or to whoever works for it.
TO_OTHERS = {
    "correlation_id": "order 17",
    "reply_to": "answers.of.the.shop",
    "app_id": "shop",
    "cluster_id": "",
    "type": "review.written",
}
# What says something to the broker as well.
TO_THE_BROKER = {"user_id": "hitl", "expiration": "600000", "priority": 0}
PRODUCERS: dict[str, Any] = {
    **TO_OTHERS,
    **TO_THE_BROKER,
    "message_id": "m1",
    "content_type": "application/json",
    "content_encoding": "utf-8",
    "timestamp": 1_700_000_000,
}


class Failing:
    """Tries everything once more, then sets it aside; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Delivery] = []

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        self.seen += batch
        return [
            Retryable("once more") if attempts(one) == 1 else Permanent("not_json", "no JSON")
            for one in batch
        ]


@pytest.fixture
def amqp(amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The broker's address, which `hitl` has, too."""
    monkeypatch.setenv("AMQP_URL", amqp_url)
    monkeypatch.setenv("HITL_HOME", str(tmp_path))
    return amqp_url


def put_back() -> None:
    done = CliRunner().invoke(app, ["dlq", "redrive", "--yes"])
    assert done.exit_code == 0, done.output


def test_what_is_set_aside_and_put_back_is_the_producers_message(amqp: str) -> None:
    declare_all(amqp, TOPOLOGY)
    with outsider(amqp) as program:
        worker = Failing()
        with working(amqp, [(ROUTER_QUEUE, worker)]):
            # Given a message with every property there is, that was tried again and set aside
            program.publish(b"{}", exchange="", routing_key=ROUTER_QUEUE, **PRODUCERS)
            until(lambda: program.ready(LETTERS) == 1)
        # I expect a person to see them
        shown = json.loads(CliRunner().invoke(app, ["dlq", "show", "--json"]).stdout)
        assert {name: shown[name] for name in TO_OTHERS} == TO_OTHERS
        assert shown["priority"] == 0
        # If the letter is put back, I expect what the producer sent
        put_back()
        (back,) = program.take(ROUTER_QUEUE, 1)
    kept = {name: back.properties.get(name) for name in PRODUCERS}
    # but for what the broker takes from its producer alone, and what would end its second wait
    assert kept == {**PRODUCERS, "user_id": None, "expiration": None}
    assert back.headers["x-hitl-user-id"] == "hitl"
    assert back.headers["x-hitl-expiration"] == "600000"
    # And I expect the second try to have had them, at an ordinary message's place
    again = worker.seen[1]
    assert (again.type, again.priority) == ("review.written", None)
    assert again.others is not None
    assert {name: again.others.get(name) for name in TO_OTHERS if name != "type"} == {
        name: value for name, value in TO_OTHERS.items() if name != "type"
    }


def test_what_nobody_took_goes_back_as_it_was_sent(amqp: str) -> None:
    with outsider(amqp) as program:
        declare_all(amqp, TOPOLOGY)
        # Given an item that came before its workflow was there, from a program that names its user
        program.publish(b"{}", exchange=UNROUTABLE, **PRODUCERS)
        until(lambda: program.ready(UNROUTABLE) == 1)
        # If the letter is put back, now that it is
        put_back()
        (back,) = program.take("hitl.sentiment.inference", 1)
    # I expect it as it was; in the name of another user RabbitMQ would have refused it
    kept = {name: back.properties.get(name) for name in PRODUCERS}
    assert kept == {**PRODUCERS, "user_id": None, "expiration": None}
    assert back.headers["x-hitl-user-id"] == "hitl"
