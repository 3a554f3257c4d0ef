"""Does every item get exactly one answer while the model changes under it, and does a candidate
answer beside it without being noticed? The inference process itself, on a real broker."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from hitl.servers.ports import free_ports
from services.feedback.registry.versions import Registry
from services.inference.classifier import Prediction
from services.inference.handler import Candidate, InferenceHandler, Served
from services.inference.shadow import ShadowScorer, drawn
from shared.clock import utc_now
from shared.errors import Permanent, Retryable
from shared.messages import Delivery
from shared.messaging.connection import declare_all
from shared.messaging.worker import Worker
from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import inference_queue, topology
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.model_versions import NOW, add_version

ROOT = Path(__file__).parents[3]
SCORED = "hitl.router"
SHADOWED = "test.shadow"


@contextmanager
def inference(amqp_url: str, models: Path, folder: Path) -> Iterator[str]:
    """The process; its address while it is ready."""
    [port] = free_ports(1)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
        "AMQP_URL": amqp_url,
        "HITL_HOME": str(folder),
        "HITL_MODELS_DIR": str(models),
        "HITL_INFERENCE_PORT": str(port),
    }
    with (folder / "inference.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.inference"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until(partial(ready, url), seconds=90, what="inference being ready")
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Stream:
    """Publishes items without a pause until it is told to stop."""

    def __init__(self, amqp_url: str) -> None:
        self._url = amqp_url
        self._stopping = threading.Event()
        self.published = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _run(self) -> None:
        with outsider(self._url) as program:
            while not self._stopping.wait(0.005):
                item = {"id": f"item-{self.published}", "text": f"film {self.published} is fine"}
                program.publish(json.dumps(item))
                self.published += 1


def in_use(url: str) -> str:
    """The live model's version, by the metrics."""
    page = httpx.get(f"{url}/metrics", timeout=5).text
    [line] = [
        line
        for line in page.splitlines()
        if line.startswith("hitl_model_info{") and 'role="live"' in line
    ]
    return line.partition('model_version="')[2].partition('"')[0]


def test_every_item_has_one_answer_while_versions_come_and_go(
    amqp_url: str, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    registry = Registry(models, "sentiment")
    first, second = (add_version(models, temperature) for temperature in (2.0, 3.0))
    events: list[dict[str, Any]] = []
    # Given a worker that items reach without a pause
    with inference(amqp_url, models, tmp_path) as url, outsider(amqp_url) as program:
        base = in_use(url)

        def versions_end_with(version: str) -> bool:
            assert ready(url), "readiness is not affected"
            events.extend(json.loads(message.body) for message in program.drain(SCORED))
            return bool(events) and events[-1]["prediction"]["model_version"] == version

        with Stream(amqp_url) as stream:
            until(partial(versions_end_with, base), what="items being scored")
            # If v1 is promoted, v2 promoted, and v2 rolled back,
            registry.promote("v1", by="a test", at=NOW)
            until(partial(versions_end_with, first.model_version), what="v1 being in use")
            registry.promote("v2", by="a test", at=NOW)
            until(partial(versions_end_with, second.model_version), what="v2 being in use")
            registry.rollback(by="a test", at=NOW)
            until(partial(versions_end_with, first.model_version), what="v1 being in use again")
            # and what comes next is broken,
            promote_broken(models)
            until(lambda: refused(url), what="v3 being refused")
            assert ready(url)
            held = len(events)
            until(
                lambda: versions_end_with(first.model_version) and len(events) > held + 20,
                what="v1 going on",
            )
        until(
            lambda: versions_end_with(first.model_version) and len(events) >= stream.published,
            what="every item being scored",
        )
        # A second answer to any of them, if there were one, would come before the one to a last.
        program.publish(json.dumps({"id": "last", "text": "a last film"}))
        until(
            lambda: versions_end_with(first.model_version) and events[-1]["item"]["id"] == "last",
            what="the last item being scored",
        )
    # I expect each item to have been scored exactly once,
    assert sorted(event["item"]["id"] for event in events) == sorted(
        [*(f"item-{n}" for n in range(stream.published)), "last"]
    )
    # and the version to have changed once each time.
    seen = [event["prediction"]["model_version"] for event in events]
    runs = [seen[0], *(now for before, now in pairwise(seen) if now != before)]
    assert runs == [base, first.model_version, second.model_version, first.model_version]


def promote_broken(models: Path) -> None:
    """As after a disk that was full: current.json names a version whose weights are not whole."""
    add_version(models, 4.0)
    folder = models / "sentiment"
    (folder / "v3" / "adapter_model.safetensors").write_bytes(b"")
    current = json.loads((folder / "current.json").read_text())
    changed = {**current, "version": "v3", "folder": "v3"}
    (folder / "new.json").write_text(json.dumps(changed))
    os.replace(folder / "new.json", folder / "current.json")


def refused(url: str) -> bool:
    """Whether the worker says that it refused a version."""
    page = httpx.get(f"{url}/metrics", timeout=5).text
    return 'hitl_model_refused{role="live",workflow="sentiment"} 1.0' in page


class Rule:
    """Scores by rule; may wait, or fail, as the test says."""

    labels = ("negative", "positive")

    def __init__(self, version: str, share: float = 0.8, seconds: float = 0.0) -> None:
        self.model_version = version
        self.share = share
        self.seconds = seconds
        self.fails = False
        self.calls: list[float] = []

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        self.calls.append(time.monotonic())
        time.sleep(self.seconds)
        if self.fails:
            raise IndexError("index out of range in self")
        return [Prediction((1 - self.share, self.share), False, 1, 3) for _ in texts]


@contextmanager
def shadowed(amqp_url: str, live: Rule, candidate: Candidate) -> Iterator[Worker]:
    """A worker with a candidate, in this process."""
    settings = Settings(amqp_url=SecretStr(amqp_url), retry_delays_seconds=(1,))
    lifecycle = Lifecycle()
    queue = inference_queue("sentiment")
    shadow = ShadowScorer(settings, busy=lambda: worker.busy(), clock=utc_now)
    worker = Worker(
        service="inference",
        settings=settings,
        topology=topology(["sentiment"], settings.retry_delays_seconds),
        lifecycle=lifecycle,
        queues=[queue],
        handler=InferenceHandler(
            {queue: Served("sentiment", live, candidate)},
            max_body_bytes=1_000_000,
            clock=utc_now,
            offer=shadow.offer,
        ),
        prefetch=64,
        max_batch=32,
    )
    thread = threading.Thread(target=worker.run)
    with shadow.in_background():
        thread.start()
        try:
            until(lambda: not lifecycle.problems(), what="inference being ready")
            yield worker
        finally:
            lifecycle.stopping.set()
            thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def program(amqp_url: str) -> Iterator[Outsider]:
    declare_all(amqp_url, topology(["sentiment"], (1,)))
    with outsider(amqp_url) as one:
        one.declare(SHADOWED)
        one.bind(SHADOWED, "hitl.events", "item.shadow_scored.*")
        yield one


def test_a_candidate_scores_its_share_after_the_live_model_has_answered(
    amqp_url: str, program: Outsider
) -> None:
    live, candidate = Rule("live@1", seconds=0.03), Rule("candidate@1", share=0.3)
    ids = [f"item-{number}" for number in range(200)]
    chosen = {item_id for item_id in ids if drawn(item_id, 0.25)}
    assert 25 < len(chosen) < 75
    for item_id in ids:
        program.publish(json.dumps({"id": item_id, "text": "a film"}))
    with shadowed(amqp_url, live, Candidate(candidate, 0.25)) as worker:
        answers = program.take(SCORED, len(ids))
        assert not any("candidate" in message.body.decode() for message in answers)
        events = [json.loads(m.body) for m in program.take(SHADOWED, len(chosen))]
        assert not worker.busy()
    # I expect the candidate's answers of the share, by the hash of the id, beside the live ones
    assert {event["shadow_item_id"] for event in events} == chosen
    for event in events:
        assert event["prediction"]["model_version"] == "candidate@1"
        assert event["prediction"]["label"] == "negative"
        assert (event["live_label"], event["live_confidence"]) == ("positive", 0.8)
        assert event["live_model_version"] == "live@1"
        assert "a film" not in json.dumps(event)
    # and not while there were items to decide: at most in the gap of the worker's slow start.
    assert sum(call < max(live.calls) for call in candidate.calls) <= 2


def test_an_answer_names_the_model_that_gave_it() -> None:
    # Given a model that is replaced while it scores
    old, new = Rule("old@1", share=0.8), Rule("new@1", share=0.3)
    queue = inference_queue("sentiment")
    served = Served("sentiment", old)

    class Replaced(Rule):
        def classify(self, texts: Sequence[str]) -> list[Prediction]:
            served.classifier = new
            return old.classify(texts)

    served.classifier = Replaced("old@1")
    handler = InferenceHandler({queue: served}, max_body_bytes=1_000, clock=utc_now)
    body = b'{"id": "a", "text": "a film"}'
    item = Delivery(queue, "hitl.items", "sentiment", body, {}, tag=1)
    # I expect the batch to end with the model that it began with, and the next to have the new one
    for version, confidence in (("old@1", 0.8), ("new@1", 0.7)):
        [result] = handler.handle([item])
        assert not isinstance(result, Permanent | Retryable)
        prediction = json.loads(result[0].body)["prediction"]
        assert prediction["model_version"] == version
        assert prediction["confidence"] == pytest.approx(confidence)


def test_a_candidate_that_fails_is_nobodys_problem(amqp_url: str, program: Outsider) -> None:
    live, candidate = Rule("live@1"), Rule("candidate@1")
    candidate.fails = True
    with shadowed(amqp_url, live, Candidate(candidate, 1.0)):
        for number in range(20):
            program.publish(json.dumps({"id": f"item-{number}", "text": "a film"}))
        program.take(SCORED, 20)
        until(lambda: bool(candidate.calls), what="the candidate being tried")
        candidate.fails = False
        program.publish(json.dumps({"id": "later", "text": "a film"}))
        program.take(SCORED, 1)

        def later() -> bool:
            return any(b'"later"' in message.body for message in program.drain(SHADOWED))

        until(later, what="the next item in the shadow")
    assert program.ready("hitl.sentiment.inference.dlq") == 0
