"""Are words weighed for people, only where they may be seen, and never in anybody's way?"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY as METRICS
from pydantic import SecretStr

from services.inference.classifier import Classifier, Prediction, load
from services.inference.handler import Scorer, Served
from services.inference.highlighter import Highlighter
from shared.clock import utc_now
from shared.events.envelope import encode
from shared.events.models import ItemReviewRequested
from shared.messaging.connection import Broker, declare_all
from shared.service.settings import Settings
from shared.topology import EVENTS, highlights_queue, topology
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.review_service import TRACEPARENT, requested

QUEUE = highlights_queue("sentiment")
REVIEW = "hitl.sentiment.review"


@dataclass
class Busy:
    """Whether items are being scored, as the test says."""

    now: bool = False

    def __call__(self) -> bool:
        return self.now


@dataclass
class Rule:
    """Knows one good and one bad word; fails on a bomb."""

    labels: tuple[str, ...] = ("negative", "positive")
    model_version: str = "test@1"
    calls: list[int] = field(default_factory=list)

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        self.calls.append(len(texts))
        if any("bomb" in text for text in texts):
            raise IndexError("index out of range in self")
        good = [0.5 + 0.4 * ("good" in text) - 0.3 * ("dull" in text) for text in texts]
        return [Prediction((1 - share, share), False, 1, 4) for share in good]


@contextmanager
def highlighting(amqp_url: str, model: Scorer, busy: Busy | None = None) -> Iterator[None]:
    """The thread as the inference process runs it."""
    settings = Settings(amqp_url=SecretStr(amqp_url), retry_delays_seconds=(1,))
    highlighter = Highlighter(
        settings=settings,
        topology=topology(["sentiment"], settings.retry_delays_seconds),
        served={QUEUE: Served("sentiment", model)},
        busy=busy or Busy(),
        clock=utc_now,
    )
    with highlighter.in_background():
        yield
    left = [thread.name for thread in threading.enumerate()]
    assert "highlights" not in left


@pytest.fixture
def program(amqp_url: str) -> Iterator[Outsider]:
    declare_all(amqp_url, topology(["sentiment"], (1,)))
    with outsider(amqp_url) as one:
        yield one


def ask(program: Outsider, event: ItemReviewRequested) -> None:
    """Publishes a request for review as the router does."""
    sent = encode(event, source="router", traceparent=TRACEPARENT)
    program.publish(
        sent.body, exchange=EVENTS, routing_key=sent.routing_key, headers=dict(sent.headers)
    )


def explained(program: Outsider, count: int) -> dict[str, dict[str, Any]]:
    """The events that the review intake gets, by item; the requests among them are left out."""
    found: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        for message in program.drain(REVIEW):
            if message.routing_key == "item.explained.sentiment":
                event = json.loads(message.body)
                found[event["explained_item_id"]] = event
        return len(found) >= count

    until(all_there, what=f"{count} explanations")
    assert len(found) == count
    return found


def outcomes(outcome: str) -> float:
    """How often this became of a request so far."""
    labels = {"workflow": "sentiment", "outcome": outcome}
    return METRICS.get_sample_value("hitl_highlights_total", labels) or 0.0


def weighed(event: Mapping[str, Any], text: str) -> dict[str, float]:
    return {text[word["start"] : word["end"]]: word["weight"] for word in event["words"]}


@pytest.fixture(scope="module")
def embedded() -> Classifier:
    return load("embedded")


def test_the_embedded_model_says_which_words_made_it_think_so(
    amqp_url: str, program: Outsider, embedded: Classifier
) -> None:
    # Given plain praise with a flaw, in a text with an emoji, another script and tags
    text = "😀 <b>wonderful</b> film, but a dull ending. סוף"
    (scores,) = embedded.classify([text])
    label = max(zip(scores.distribution, embedded.labels, strict=True))[1]
    event = requested("praise", text=text, label=label)
    event = event.model_copy(
        update={
            "prediction": event.prediction.model_copy(
                update={"model_version": embedded.model_version}
            )
        }
    )
    # If a person is asked about it
    with highlighting(amqp_url, embedded):
        ask(program, event)
        found = explained(program, 1)["praise"]
    # I expect every word weighed, at its place in code points, the praise and the flaw apart
    weights = weighed(found, text)
    assert list(weights) == ["😀", "b", "wonderful", "film", "but", "a", "dull", "ending", "סוף"]
    sign = 1 if label == "positive" else -1
    assert weights["wonderful"] * sign > 0.1
    assert weights["dull"] * sign < 0
    assert (found["label"], found["method"]) == (label, "occlusion")


def test_only_what_a_reviewer_may_see_is_weighed(amqp_url: str, program: Outsider) -> None:
    # Given a blind item, one of another model, long ones, one that breaks the model and one message
    # that is no event, before an ordinary item
    before = {name: outcomes(name) for name in ("blind", "other_model", "too_long", "failed")}
    model = Rule()
    other = requested("other")
    with highlighting(amqp_url, model):
        ask(program, requested("blind", blind=True))
        ask(
            program,
            other.model_copy(
                update={"prediction": other.prediction.model_copy(update={"model_version": "x@2"})}
            ),
        )
        ask(program, requested("long", text="a " * 5_000))
        ask(program, requested("one long word", text="a" * 10_000))
        ask(program, requested("nothing", text="..."))
        program.publish("{", exchange=EVENTS, routing_key="item.review_requested.sentiment")
        ask(program, requested("bomb", text="a bomb"))
        ask(program, requested("ordinary", text="a good but dull film"))
        # If all are taken, I expect the ordinary one explained, and it alone
        found = explained(program, 1)

        def gained() -> dict[str, float]:
            return {name: outcomes(name) - count for name, count in before.items()}

        until(lambda: sum(gained().values()) == 6, what="what became of the others")
    weights = weighed(found["ordinary"], "a good but dull film")
    assert weights["good"] > 0 > weights["dull"]
    assert weights["film"] == 0
    # and of the others to be known why not, and no model to have been asked
    assert gained() == {"blind": 1, "other_model": 1, "too_long": 2, "failed": 2}
    assert max(model.calls) == 6, "the text, and the text without each of its five words"


def test_while_items_are_scored_no_words_are_weighed(amqp_url: str, program: Outsider) -> None:
    # Given a worker that is busy
    busy, model = Busy(now=True), Rule()
    with highlighting(amqp_url, model, busy):
        ask(program, requested("patient", text="a good film"))
        until(lambda: program.ready(QUEUE) == 0, what="the request being taken")
        # I expect nothing to be weighed,
        assert model.calls == []
        # and once it is idle, everything
        busy.now = False
        assert list(explained(program, 1)) == ["patient"]
        # A stop in the middle gives the request back
        busy.now = True
        ask(program, requested("later", text="a good film"))
        until(lambda: program.ready(QUEUE) == 0, what="the request being taken")
    until(partial(_holds, program, QUEUE, 1))


def test_a_full_queue_refuses_nothing_and_drops_the_oldest(
    amqp_url: str, program: Outsider
) -> None:
    # Given the queue as declared, but with room for ten
    (declared,) = [q for q in topology(["sentiment"], (1,)).queues if q.name == QUEUE]
    program.delete(QUEUE)
    program.declare(QUEUE, **{**declared.arguments, "x-max-length": 10})
    program.bind(QUEUE, EVENTS, "item.review_requested.sentiment")
    # If many more come than fit, with confirms, as the router publishes them
    broker = Broker(amqp_url, name="router")
    broker.start()
    try:
        messages = [
            encode(requested(f"i{number}"), source="router", traceparent=TRACEPARENT)
            for number in range(200)
        ]
        broker.publish(messages, timeout_seconds=20)  # or Overloaded
    finally:
        broker.close()
    # I expect all confirmed, all to be there for people, and here the last ten
    until(partial(_holds, program, REVIEW, 200))
    until(partial(_holds, program, QUEUE, 10))
    kept = [json.loads(message.body)["item"]["id"] for message in program.drain(QUEUE)]
    assert kept == [f"i{number}" for number in range(190, 200)]


def test_a_request_that_nobody_weighs_is_gone_after_its_time(
    amqp_url: str, program: Outsider
) -> None:
    # Given the queue with some seconds instead of a day
    (declared,) = [q for q in topology(["sentiment"], (1,)).queues if q.name == QUEUE]
    program.delete(QUEUE)
    program.declare(QUEUE, **{**declared.arguments, "x-message-ttl": 4_000})
    program.bind(QUEUE, EVENTS, "item.review_requested.sentiment")
    ask(program, requested("late"))
    until(partial(_holds, program, QUEUE, 1))
    # I expect it to be dropped, and nothing else
    until(partial(_holds, program, QUEUE, 0))
    assert program.ready(REVIEW) == 1


def _holds(program: Outsider, queue: str, count: int) -> bool:
    return program.ready(queue) == count
