"""Does the whole loop close: certified, drifted, alarmed, all to people, certified again?

Real processes: router, logger and certifier; the model and the people are threads of the test.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg2
import pytest

from hitl.servers.ports import free_ports
from services.feedback.service import HEARTBEAT_SECONDS
from shared.events.envelope import encode
from shared.events.live_policy import LivePolicy, LiveRoute
from shared.events.models import (
    Decision,
    Item,
    ItemAccepted,
    ItemReviewed,
    ItemReviewRequested,
    ItemScored,
    Prediction,
    Review,
)
from shared.messaging.connection import Broker
from shared.messaging.session import follow_stream
from shared.topology import policy_stream, topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import outsider, until
from tests.support.pipeline import ROOT, running

OTHER = {"negative": "positive", "positive": "negative"}
FILE = """
[workflow]
name = "sentiment"
labels = ["negative", "positive"]
[policy]
mode = "certified"
threshold = 0.5
[policy.panel]
rate = 0.25
[policy.certificate]
alpha = 0.05
"""
ITEMS_A_SECOND = 100
LEASE_SECONDS = 12
FOLLOWS, MOMENT = timedelta(seconds=2.5), timedelta(seconds=1)


@contextmanager
def listening(amqp_url: str) -> Iterator[list[tuple[float, LivePolicy]]]:
    """What is published on the stream, with the time of its arrival."""
    heard: list[tuple[float, LivePolicy]] = []

    def hear(body: bytes) -> None:
        heard.append((time.monotonic(), LivePolicy.model_validate_json(body)))

    session = follow_stream(policy_stream(), hear, "test")
    thread = threading.Thread(target=session.run, args=(amqp_url,))
    thread.start()
    try:
        yield heard
    finally:
        session.stop()
        thread.join(10)


class Stream:
    """Scores items all the time, `error` of them wrongly, and answers what comes to people."""

    def __init__(self, amqp_url: str) -> None:
        self.error = 0.0
        self.accepted: list[tuple[datetime, bool, str | None]] = []  # when, wrong, certificate
        self.reviewed = 0
        self._amqp_url = amqp_url
        self._truth: dict[str, str] = {}
        self._stopping = threading.Event()
        self._broker = Broker(amqp_url, name="test", topology=topology(["sentiment"], (1,)))
        self._threads = [threading.Thread(target=target) for target in (self._score, self._answer)]

    def __enter__(self) -> "Stream":
        self._broker.start()
        assert self._broker.wait_ready(20)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)
        self._broker.close()

    def _score(self) -> None:
        source = random.Random(3)
        number = 0
        while not self._stopping.wait(0.5):
            batch = []
            for _ in range(ITEMS_A_SECOND // 2):
                number += 1
                label = source.choice(tuple(OTHER))
                confidence = source.uniform(0.5, 1.0)
                wrong = source.random() < self.error
                self._truth[f"i{number}"] = OTHER[label] if wrong else label
                now = datetime.now(UTC)
                event = ItemScored(
                    workflow="sentiment",
                    occurred_at=now,
                    item=Item(id=f"i{number}", text=f"text {number}", received_at=now),
                    prediction=Prediction(
                        label=label,
                        confidence=confidence,
                        distribution={label: confidence, OTHER[label]: 1 - confidence},
                        model_version="m1",
                    ),
                )
                batch.append(encode(event, source="test", traceparent=""))
            self._broker.publish(batch, 30)

    def _answer(self) -> None:
        with outsider(self._amqp_url) as client:
            while not self._stopping.wait(0.2):
                answers = []
                for message in client.drain("hitl.sentiment.review"):
                    asked = ItemReviewRequested.model_validate_json(message.body)
                    self.reviewed += 1
                    answers.append(encode(self._label(asked), source="test", traceparent=""))
                self._broker.publish(answers, 30)
                for message in client.drain("hitl.sentiment.accepted"):
                    if message.routing_key.startswith(ItemAccepted.type):
                        taken = ItemAccepted.model_validate_json(message.body)
                        wrong = taken.decision.label != self._truth[taken.item_id]
                        certificate = taken.decision.certificate_version
                        # By the router's clock: this thread may come to it late.
                        self.accepted.append((taken.decision.decided_at, wrong, certificate))

    def _label(self, asked: ItemReviewRequested) -> ItemReviewed:
        now = datetime.now(UTC)
        label = self._truth[asked.item_id]
        return ItemReviewed(
            workflow=asked.workflow,
            occurred_at=now,
            item=asked.item,
            prediction=asked.prediction,
            decision=Decision(
                label=label,
                decided_by="human",
                confidence=None,
                model_version=asked.prediction.model_version,
                policy_version=asked.routing.policy_version,
                reasons=asked.routing.reasons,
                decided_at=now,
                certificate_version=asked.routing.certificate_version,
                sampling=asked.routing.sampling,
                ai_label=asked.prediction.label,
                reviewer="grace",
                action="accepted" if label == asked.prediction.label else "corrected",
            ),
            review=Review(
                task_id=uuid4(), revision=1, assigned_at=now, seconds=1.0, ai_label_shown=False
            ),
        )


@pytest.mark.timeout(400)
def test_the_loop_closes_on_real_servers(
    amqp_url: str, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sentiment.toml").write_text(FILE)
    services = ("logger", "feedback", "router")
    lease = {"HITL_CERTIFICATE_LEASE_SECONDS": str(LEASE_SECONDS)}
    with (
        running(
            amqp_url, database_url, tmp_path, services, HITL_WORKFLOWS_DIR=str(tmp_path), **lease
        ) as pipeline,
        listening(amqp_url) as heard,
        Stream(amqp_url) as stream,
    ):

        def told() -> list[tuple[datetime, LiveRoute]]:
            """What the certifier has said so far, and when."""
            return [(policy.issued_at, policy.workflows["sentiment"]) for _, policy in heard]

        def state() -> str:
            return told()[-1][1].state if heard else ""

        def certificates(epoch: str) -> set[str | None]:
            """Those of an epoch: with more audits a looser one may follow the first."""
            return {route.certificate_version for _, route in told() if route.epoch == epoch}

        def accepted_under(epoch: str) -> list[datetime]:
            known = certificates(epoch)
            return [when for when, _, certificate in stream.accepted if certificate in known]

        # Given a machine that is always right / I expect everything at people, then a certificate
        until(lambda: state() == "certified", seconds=90, what="a certificate")
        first = told()[-1][1].epoch
        until(lambda: len(accepted_under(first)) > 100, seconds=30, what="decisions of the machine")
        # If half of its answers are suddenly wrong
        stream.error, shifted = 0.5, datetime.now(UTC)
        # I expect the alarm,
        until(lambda: state() == "alarm", seconds=90, what="the alarm")
        alarmed = next(when for when, route in told() if route.state == "alarm")
        stream.error, mended = 0.0, time.monotonic()
        # and now that it is right again, a new certificate, by fresh audits alone
        until(lambda: state() == "certified", seconds=120, what="another certificate")
        again = time.monotonic()
        second = told()[-1][1].epoch
        assert second != first
        until(lambda: bool(accepted_under(second)), what="decisions under the second certificate")
        # and each route in the log under the certificate of its time
        logged = pipeline.rows(
            "SELECT DISTINCT data #>> '{decision,certificate_version}' FROM event"
            " WHERE type = 'item.accepted'"
        )
        assert {version for (version,) in logged} <= certificates(first) | certificates(second)
        page = pipeline.page("feedback", "/metrics")[1]
        assert 'hitl_certification_state{state="certified",workflow="sentiment"} 1.0' in page
        assert f"\nhitl_certificate_lease_seconds {LEASE_SECONDS}.0\n" in page
        # If the certifier dies, and nobody takes over / I expect the machine to decide on for the
        # length of its lease, and then nothing more: everything is for people
        dead = pipeline.processes.pop("feedback")
        dead.kill()
        dead.wait()
        killed, ends = datetime.now(UTC), told()[-1][1].valid_until
        time.sleep(max(0.0, (ends - killed).total_seconds()) + 2)
        reviewed = stream.reviewed
        until(lambda: stream.reviewed > reviewed + 2 * ITEMS_A_SECOND, what="items at people")
        last = max(accepted_under(second))
        assert last < ends + MOMENT
        assert last > min(killed, ends - MOMENT)
        # In all that time routers accepted nothing under the first one, once it was withdrawn, for
        # longer than the two seconds that they may take.
        before = accepted_under(first)
        assert max(before) < alarmed + FOLLOWS
        assert len(before) + len(accepted_under(second)) == len(stream.accepted)
        wrong = sum(wrong for when, wrong, _ in stream.accepted if when > shifted)
        with capsys.disabled():
            print(
                f"\nalarm {(alarmed - shifted).total_seconds():.1f} s after the shift, last accept"
                f" {(max(before) - alarmed).total_seconds():+.1f} s from it, {wrong} wrong accepts"
                f" in between; certified again after {again - mended:.1f} s;"
                f" last accept {(last - killed).total_seconds():.1f} s after the certifier's death"
            )


def leads(port: int) -> bool:
    """Whether the certifier on this port says that it leads."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as page:
            return b"\nhitl_certifier_leads 1.0" in page.read()
    except OSError:
        return False


@contextmanager
def certifier(
    amqp_url: str, database_url: str, folder: Path, port: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A running certifier."""
    environment = {
        "PATH": os.environ["PATH"],
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "HITL_WORKFLOWS_DIR": str(folder),
        "HITL_FEEDBACK_PORT": str(port),
    }
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.feedback"], cwd=ROOT, env=environment, stderr=log
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_of_two_certifiers_one_leads_and_the_other_takes_over(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "sentiment.toml").write_text(FILE)
    ports = free_ports(2)
    with (
        certifier(amqp_url, database_url, tmp_path, ports[0]) as first,
        listening(amqp_url) as heard,
    ):
        until(lambda: leads(ports[0]) and bool(heard), what="the first to lead and to publish")
        with certifier(amqp_url, database_url, tmp_path, ports[1]) as second:
            until(
                lambda: b'"started"' in (tmp_path / f"{ports[1]}.log").read_bytes(),
                what="the second",
            )
            time.sleep(3)
            assert not leads(ports[1])
            # If the one that leads is killed / I expect the other to publish within seconds
            first.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            until(lambda: leads(ports[1]), seconds=5, what="the second to lead")
            until(lambda: heard[-1][0] > killed, seconds=5, what="the second to publish")
            versions = [policy.version for _, policy in heard]
            assert versions == sorted(versions)
            # If it is stopped, I expect a good end, and the lead to be free at once
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
    with certifier(amqp_url, database_url, tmp_path, ports[0]):
        until(lambda: leads(ports[0]), what="another to lead")


def test_a_certifier_says_changes_at_once_and_comes_back_when_it_was_cut_off(
    amqp_url: str, database_url: str, tmp_path: Path, rabbitmq: RabbitMQ
) -> None:
    (tmp_path / "sentiment.toml").write_text(FILE)
    (port,) = free_ports(1)
    with (
        certifier(amqp_url, database_url, tmp_path, port) as process,
        listening(amqp_url) as heard,
        closing(psycopg2.connect(database_url)) as database,
    ):
        until(lambda: bool(heard), what="the first word")
        # If a policy changes just after that / I expect it said without waiting for a heartbeat
        before, _ = heard[-1]
        (tmp_path / "sentiment.toml").write_text(FILE.replace("alpha = 0.05", "alpha = 0.04"))
        until(
            lambda: heard[-1][1].workflows["sentiment"].alpha == 0.04, seconds=6, what="the change"
        )
        assert heard[-1][0] - before < HEARTBEAT_SECONDS
        # If Postgres ends its sessions, and with them the lock
        database.autocommit = True
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE application_name = 'hitl-feedback'"
            )
            assert cursor.fetchall()[0][0] > 0
        cut = time.monotonic()
        # I expect it to lead again and to say so within seconds
        until(lambda: heard[-1][0] > cut, seconds=8, what="another word")
        # If RabbitMQ ends its connection / I expect it back as well
        log = tmp_path / f"{port}.log"
        for connection in rabbitmq.api.get("/connections").json():
            properties = connection.get("client_properties", {})
            if properties.get("connection_name") == "hitl-feedback":
                rabbitmq.api.delete(f"/connections/{quote(connection['name'])}")
        until(lambda: log.read_text().count("connected to RabbitMQ") >= 2, what="a connection")
        cut = time.monotonic()
        until(lambda: heard[-1][0] > cut, seconds=20, what="a word after the broker was back")
        until(lambda: leads(port), what="it to lead")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert "Traceback" not in log.read_text()
