"""Does what was decided leave with its decision, when the same id comes with another text?"""

import json

from services.router.handler import Router
from services.router.policy import Policy
from shared.clock import utc_now
from shared.events.envelope import encode
from shared.events.models import Item, ItemScored, Prediction
from shared.messaging.connection import Broker, declare_all
from shared.topology import ROUTER_QUEUE
from tests.support.amqp_client import outsider
from tests.support.service_workers import TOPOLOGY, working

POLICY = Policy.from_mapping({"threshold": 0.85}, ("negative", "positive"))
FILM = "a lovely, quiet film"
THREAT = "I know where you live"


def routing() -> Router:
    return Router(lambda _: POLICY, salt="s", clock=utc_now)


def scored(text: str, label: str, confidence: float) -> ItemScored:
    """The same id each time."""
    return ItemScored(
        workflow="sentiment",
        occurred_at=utc_now(),
        item=Item(id="review-17", text=text, received_at=utc_now()),
        prediction=Prediction(
            label=label,
            confidence=confidence,
            distribution={label: confidence, "other": 1 - confidence},
            model_version="m1",
        ),
    )


def test_a_threat_does_not_leave_with_the_decision_on_a_film(amqp_url: str) -> None:
    # Given a router, and an item that it accepts
    declare_all(amqp_url, TOPOLOGY)
    sender = Broker(amqp_url, name="test")
    sender.start()
    assert sender.wait_ready(20)

    def send(event: ItemScored) -> None:
        sender.publish([encode(event, source="inference", traceparent="")])

    try:
        with outsider(amqp_url) as program:
            with working(amqp_url, [(ROUTER_QUEUE, routing())]):
                send(scored(FILM, "positive", 0.987))
                (first,) = program.take("hitl.sentiment.accepted", 1)
                # If the same id comes with a threat, and once more as it was
                send(scored(THREAT, "negative", 0.6))
                send(scored(FILM, "positive", 0.987))
                (again,) = program.take("hitl.sentiment.accepted", 1)
                (letter,) = program.take("hitl.router.dlq", 1)
            # I expect the film's decision around the film alone, and the threat set aside by name
            for message in (first, again):
                said = json.loads(message.body)
                assert (said["item"]["text"], said["decision"]["label"]) == (FILM, "positive")
            assert first.message_id == again.message_id
            assert letter.headers["x-hitl-reason"] == "edited"
            assert json.loads(letter.body)["item"]["text"] == THREAT
            assert program.ready("hitl.sentiment.review") == 0
            # A router that knows nothing of it decides on the threat as what it is
            with working(amqp_url, [(ROUTER_QUEUE, routing())]):
                send(scored(THREAT, "negative", 0.6))
                (asked,) = program.take("hitl.sentiment.review", 1)
            assert json.loads(asked.body)["item"]["text"] == THREAT
            assert json.loads(asked.body)["prediction"]["label"] == "negative"
    finally:
        sender.close()
