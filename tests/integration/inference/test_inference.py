"""What does one bad text do to its neighbours, and a second workflow to the first?"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from services.inference.classifier import Prediction
from services.inference.handler import InferenceHandler, Served
from shared.clock import utc_now
from shared.errors import Permanent
from shared.messaging.worker import Worker
from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import inference_queue, topology
from tests.support.amqp_client import Outsider, outsider, until


@dataclass
class Model:
    """Scores by rule, and fails as real models do; remembers the size of each call."""

    labels: tuple[str, ...] = ("negative", "positive")
    model_version: str = "rule@1"
    sizes: list[int] = field(default_factory=list)
    out_of_memory: int = 0
    seconds: float = 0.0

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        self.sizes.append(len(texts))
        time.sleep(self.seconds)
        if self.out_of_memory:
            self.out_of_memory -= 1
            raise MemoryError
        for index, text in enumerate(texts):
            if "bomb" in text:
                raise IndexError("index out of range in self")
            if "nan" in text:
                raise Permanent("not_finite", f"the scores of text {index}")
        return [Prediction((0.2, 0.8), False, 1, len(text)) for text in texts]


@contextmanager
def inference(amqp_url: str, **models: Model) -> Iterator[None]:
    """The inference worker with one model per workflow."""
    settings = Settings(amqp_url=SecretStr(amqp_url), retry_delays_seconds=(1,))
    lifecycle = Lifecycle()
    served = {inference_queue(name): Served(name, model) for name, model in models.items()}
    worker = Worker(
        service="inference",
        settings=settings,
        topology=topology(list(models), settings.retry_delays_seconds),
        lifecycle=lifecycle,
        queues=list(served),
        handler=InferenceHandler(served, max_body_bytes=1_000_000, clock=utc_now),
        prefetch=64,
        max_batch=32,
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        until(lambda: not lifecycle.problems(), what="inference being ready")
        yield
    finally:
        lifecycle.stopping.set()
        thread.join(20)
        assert not thread.is_alive()


def publish(program: Outsider, text: str, workflow: str = "sentiment") -> None:
    program.publish(json.dumps({"id": text, "text": text}), routing_key=workflow)


@pytest.fixture
def program(amqp_url: str) -> Iterator[Outsider]:
    with outsider(amqp_url) as one:
        yield one


def scored(program: Outsider, count: int) -> list[str]:
    """The items scored, as the router would get them."""
    return [
        json.loads(message.body)["item"]["id"] for message in program.take("hitl.router", count)
    ]


def test_texts_that_break_the_model_are_dead_lettered_alone(
    amqp_url: str, program: Outsider
) -> None:
    texts = [f"text {number}" for number in range(30)]
    with inference(amqp_url, sentiment=Model()):
        publish(program, "first")
        assert scored(program, 1) == ["first"]
        for text in [*texts[:10], "bomb", *texts[10:20], "nan", *texts[20:]]:
            publish(program, text)
        assert sorted(scored(program, 30)) == sorted(texts)
        letters = program.take("hitl.sentiment.inference.dlq", 2)
    assert {json.loads(one.body)["id"]: one.headers["x-hitl-reason"] for one in letters} == {
        "bomb": "unscorable",
        "nan": "not_finite",
    }


def test_memory_that_runs_out_is_no_fault_of_the_text(amqp_url: str, program: Outsider) -> None:
    with inference(amqp_url, sentiment=Model(out_of_memory=1)):
        publish(program, "a large one")
        assert scored(program, 1) == ["a large one"], "tried again after the delay"
        assert program.ready("hitl.sentiment.inference.dlq") == 0


def test_each_workflow_has_its_own_model_and_labels(amqp_url: str, program: Outsider) -> None:
    spam = Model(labels=("ham", "spam"), model_version="spam@1")
    with inference(amqp_url, sentiment=Model(), mail=spam):
        publish(program, "a film")
        publish(program, "an offer", workflow="mail")
        events = [json.loads(message.body) for message in program.take("hitl.router", 2)]
    found = {event["workflow"]: event["prediction"] for event in events}
    assert found["sentiment"]["label"] == "positive"
    assert found["mail"]["label"] == "spam"
    assert found["mail"]["distribution"] == {"ham": 0.2, "spam": 0.8}
    assert found["mail"]["model_version"] == "spam@1"


def test_what_is_queued_is_scored_together(amqp_url: str, program: Outsider) -> None:
    model = Model(seconds=0.05)  # in which the broker delivers more than one
    with inference(amqp_url, sentiment=Model()):
        pass  # declares the queues
    for number in range(200):
        publish(program, f"text {number}")
    with inference(amqp_url, sentiment=model):
        scored(program, 200)
    assert model.sizes[0] == 1, "the first alone: slow start"
    assert max(model.sizes) > 8
    assert max(model.sizes) <= 32
