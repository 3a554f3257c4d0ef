"""Does a running router follow the live policy, whatever becomes of the stream that brings it?"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from hitl.servers.rabbitmq import PrivateRabbitMQ
from services.router.policy import Policy
from shared.events.envelope import encode
from shared.events.live_policy import LivePolicy, LiveRoute, encode_policy
from shared.events.models import Item, ItemScored, Prediction
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.topology import POLICY_STREAM, topology
from shared.workflows.files import read_workflow_file
from tests.support.amqp_client import Outsider, outsider, until

ROOT = Path(__file__).parents[3]
FILE = """
[workflow]
name = "sentiment"
labels = ["negative", "positive"]
[policy]
mode = "certified"
threshold = 0.6
"""
FOLLOWS_SECONDS = 2.0
REVIEW, ACCEPTED = "hitl.sentiment.review", "hitl.sentiment.accepted"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The workflow files."""
    (tmp_path / "sentiment.toml").write_text(FILE)
    return tmp_path


@contextmanager
def connected(amqp_url: str) -> Iterator[Broker]:
    """A publisher with the whole topology declared."""
    broker = Broker(amqp_url, name="test", topology=topology(["sentiment"], (1,)))
    broker.start()
    assert broker.wait_ready(20)
    try:
        yield broker
    finally:
        broker.close()


@contextmanager
def router(amqp_url: str, folder: Path) -> Iterator[Path]:
    """A running router; gives its log."""
    log = folder / "router.log"
    environment = {
        "PATH": os.environ["PATH"],
        "AMQP_URL": amqp_url,
        "HITL_WORKFLOWS_DIR": str(folder),
        "HITL_ROUTER_PORT": "0",
        "HITL_PANEL_SALT": "salt",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.router"],
            cwd=ROOT, env=environment, stderr=output,
        )  # fmt: skip
        try:
            yield log
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def refusals(log: Path) -> int:
    """How many words of a certifier a router has refused."""
    return log.read_text().count("live policy rejected; keeping the last good one")


class Certifier:
    """Says what a certifier would, with versions that grow."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.population = Policy.of_file(read_workflow_file(folder / "sentiment.toml")).population
        self.version = 0

    def route(self, **other: object) -> LiveRoute:
        """A certificate for 0.6 and above, by model m1, with hardly any panel."""
        said: dict[str, object] = {
            "state": "certified",
            "threshold": 0.6,
            "certified_threshold": 0.6,
            "panel_rate": 1e-9,
            "certificate_version": "cert-1",
            "model_version": "m1",
            "population": self.population,
            "alpha": 0.02,
            "delta": 0.10,
            "epoch": "e1",
            "watermark": datetime.now(UTC),
            "reason": "certified",
            "valid_until": datetime.now(UTC) + timedelta(hours=1),
        }
        return LiveRoute.model_validate({**said, **other})

    def say(self, *, version: int | None = None, **other: object) -> None:
        """Publish it."""
        self.version += 1
        policy = LivePolicy(
            version=self.version if version is None else version,
            issued_at=datetime.now(UTC),
            workflows={"sentiment": self.route(**other)},
        )
        self.broker.publish([encode_policy(policy)], 20)

    def to_people(self, reason: str = "an alarm") -> None:
        """Withdraw it."""
        self.say(
            state="alarm",
            threshold=None,
            certified_threshold=None,
            certificate_version=None,
            panel_rate=1.0,
            reason=reason,
        )


def scored(item_id: str, confidence: float = 0.7, model: str = "m1") -> Outgoing:
    now = datetime.now(UTC)
    event = ItemScored(
        workflow="sentiment",
        occurred_at=now,
        item=Item(id=item_id, text="fine", received_at=now),
        prediction=Prediction(
            label="positive",
            confidence=confidence,
            distribution={"positive": confidence, "negative": 1 - confidence},
            model_version=model,
        ),
    )
    return encode(event, source="test", traceparent="")


class Items:
    """Sends one item after the other until one takes the expected way."""

    def __init__(self, broker: Broker, client: Outsider) -> None:
        self.broker = broker
        self.client = client
        self.sent = 0

    def send(self, **how: object) -> tuple[str, bytes]:
        """The queue that the next item came to, and its event."""
        self.sent += 1
        self.broker.publish([scored(f"i{self.sent}", **how)], 20)  # type: ignore[arg-type]
        found: list[tuple[str, bytes]] = []

        def arrived() -> bool:
            for queue in (REVIEW, ACCEPTED):
                found.extend((queue, message.body) for message in self.client.drain(queue))
            return bool(found)

        until(arrived, what="a route")
        (one,) = found
        return one

    def until_at(self, queue: str, seconds: float, **how: object) -> bytes:
        """The event of the first item that comes to `queue`; in time, or the test fails."""
        deadline = time.monotonic() + seconds
        while True:
            came_to, body = self.send(**how)
            if came_to == queue:
                return body
            assert time.monotonic() < deadline, f"after {seconds} s still at {came_to}: {body!r}"
            time.sleep(0.05)


def test_a_policy_on_the_stream_steers_a_running_router_within_two_seconds(
    amqp_url: str, folder: Path
) -> None:
    with connected(amqp_url) as broker, outsider(amqp_url) as client:
        items, certifier = Items(broker, client), Certifier(broker, folder)
        with router(amqp_url, folder):
            # Given a router that has heard nothing / I expect everything at people, blind
            queue, body = items.send(confidence=0.99)
            assert queue == REVIEW
            assert b'"code":"not_certified"' in body
            assert b"nothing has been heard from the certifier yet" in body
            assert b'"blind":true' in body
            # If a certificate is published, I expect it in force within two seconds, in each route
            certifier.say()
            body = items.until_at(ACCEPTED, FOLLOWS_SECONDS)
            assert b'"certificate_version":"cert-1"' in body
            queue, body = items.send(confidence=0.5)
            assert queue == REVIEW
            assert b'"certificate_version":"cert-1"' in body
            assert b'"code":"below_threshold"' in body
            # If it is withdrawn, I expect everything at people within two seconds, and why
            certifier.to_people("the monitor raised the alarm")
            body = items.until_at(REVIEW, FOLLOWS_SECONDS, confidence=0.99)
            assert b"the monitor raised the alarm" in body
            certifier.say()
            items.until_at(ACCEPTED, FOLLOWS_SECONDS)


def test_a_router_that_starts_waits_a_little_for_the_certifier(amqp_url: str, folder: Path) -> None:
    with connected(amqp_url) as broker, outsider(amqp_url) as client:
        # Given an item that waits, and a router that starts / If it hears the certifier only two
        # seconds later
        broker.publish([scored("early")], 20)
        with router(amqp_url, folder) as log:
            until(lambda: "started" in log.read_text(), what="a router")
            time.sleep(2)
            Certifier(broker, folder).say()
            # I expect that it was not sent to people meanwhile
            (message,) = client.take(ACCEPTED, 1)
            assert b'"early"' in message.body


def test_what_a_router_cannot_trust_changes_nothing_or_goes_to_people(
    amqp_url: str, folder: Path
) -> None:
    with connected(amqp_url) as broker, outsider(amqp_url) as client:
        items, certifier = Items(broker, client), Certifier(broker, folder)
        with router(amqp_url, folder) as log:
            certifier.say()
            items.until_at(ACCEPTED, FOLLOWS_SECONDS + 5)
            # If nonsense comes, or a certificate that promises nothing / I expect the last good one
            good = encode_policy(
                LivePolicy(
                    version=10,
                    issued_at=datetime.now(UTC),
                    workflows={"sentiment": certifier.route()},
                )
            ).body
            looser = good.replace(b'"threshold":0.6', b'"threshold":0.1', 1)
            for body in (b"nonsense", looser, b'{"version": 9, "workflows": {}}'):
                broker.publish([Outgoing("", POLICY_STREAM, body, message_id="bad")], 20)
            refused = partial(refusals, log)
            until(lambda: refused() == 3, what="three refusals")
            assert items.send()[0] == ACCEPTED
            assert items.send(confidence=0.3)[0] == REVIEW
            # If an old leader repeats what it thought / I expect that nobody listens
            certifier.version = 20
            certifier.say()
            certifier.say(version=5, state="alarm", threshold=None, reason="of yesterday")
            # (it has read that once it has refused what comes after it)
            broker.publish([Outgoing("", POLICY_STREAM, b"nonsense", message_id="bad")], 20)
            until(lambda: refused() == 4, what="another refusal")
            assert items.send()[0] == ACCEPTED
            # If another model has scored / I expect a person, whatever the score
            assert items.send(model="m2", confidence=0.99)[0] == REVIEW
            # If the certifier dies and its lease runs out / I expect everything at people
            certifier.say(valid_until=datetime.now(UTC) + timedelta(seconds=3))
            assert items.send()[0] == ACCEPTED
            body = items.until_at(REVIEW, 3 + FOLLOWS_SECONDS)
            assert b"nothing heard from the certifier since" in body


def test_a_stream_that_is_deleted_comes_back_and_is_heard(amqp_url: str, folder: Path) -> None:
    with connected(amqp_url) as broker, outsider(amqp_url) as client:
        items, certifier = Items(broker, client), Certifier(broker, folder)
        with router(amqp_url, folder):
            certifier.say()
            items.until_at(ACCEPTED, FOLLOWS_SECONDS + 5)
            # If somebody deletes the stream / I expect the last word to stand, and a new stream
            client.delete(POLICY_STREAM)
            until(lambda: client.exists(POLICY_STREAM), what="the stream again")
            assert items.send()[0] == ACCEPTED
            # on which the router hears what is said next
            certifier.to_people()
            items.until_at(REVIEW, FOLLOWS_SECONDS, confidence=0.99)


def test_a_router_hears_the_certifier_again_after_the_broker_was_away(
    node: PrivateRabbitMQ, folder: Path
) -> None:
    with connected(node.amqp_url) as broker, router(node.amqp_url, folder):
        certifier = Certifier(broker, folder)
        with outsider(node.amqp_url) as client:
            certifier.say()
            Items(broker, client).until_at(ACCEPTED, FOLLOWS_SECONDS + 5)
        # If the broker restarts / I expect the next word to be heard
        time.sleep(10)  # a stream of 3.10 that is killed younger than that may never come back
        node.stop()
        node.start()
        node.wait_ready()
        until(lambda: broker.problem() is None, seconds=60, what="a connection")
        certifier.to_people()
        with outsider(node.amqp_url) as client:
            items = Items(broker, client)
            items.sent = 1_000
            items.until_at(REVIEW, 10.0, confidence=0.99)
