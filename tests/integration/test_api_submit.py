"""Do items sent over HTTP reach the broker as any producer's, and only those that should?"""

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from shared.broker import Broker
from shared.clock import utc_now
from shared.lifecycle import Lifecycle
from shared.messages import Delivery
from shared.submissions import read_submission
from shared.topology import inference_queue, topology
from tests.outside import outsider
from tests.programs import code_of, program
from tests.reviewing import Served, TurnedClock, make_test_desk, serving

QUEUE = inference_queue("sentiment")


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    broker = Broker(amqp_url, name="test", topology=topology(["sentiment"], [5]))
    broker.start()
    assert broker.wait_ready(20)
    yield broker
    broker.close()


@pytest.fixture
def served(engine: Engine, broker: Broker) -> Iterator[Served]:
    clock = TurnedClock()
    desk = make_test_desk(engine, clock, Lifecycle(), publish=broker.publish)
    with serving(desk, clock) as served:
        yield served


def test_each_item_is_published_or_refused_for_itself(served: Served, amqp_url: str) -> None:
    # Given good items and bad ones in one request
    items: list[dict[str, object]] = [
        {"id": "i1", "text": "a good film", "metadata": {"page": 3}},
        {"text": "without an id"},
        {"id": "i3", "text": "  "},
        {"id": "i4"},
        {"id": "i5", "text": "x" * 100_001},
        {"id": "i6", "text": "lone \ud800"},
        {"id": "", "text": "an empty id"},
        {"id": "i8", "text": "Grüße, 你好 \u0000", "unknown": 1},
    ]
    with program(served, "items:write") as producer:
        content = json.dumps({"workflow": "sentiment", "items": items})
        headers = {"Content-Type": "application/json"}
        answer = producer.post("/items", content=content, headers=headers)
    # I expect to hear of each
    assert answer.status_code == 202, answer.text
    accepted, refused = answer.json()["accepted"], answer.json()["refused"]
    assert [each["index"] for each in accepted] == [0, 1, 7]
    codes = [(each["index"], each["code"]) for each in refused]
    assert codes == [
        (2, "empty_text"), (3, "schema"), (4, "too_large"), (5, "not_json"), (6, "schema")
    ]  # fmt: skip
    # and those accepted in the queue, read by inference as the items that were announced.
    with outsider(amqp_url) as outside:
        got = outside.take(QUEUE, 3)
    read = []
    for message in got:
        delivery = Delivery(
            QUEUE, "", "sentiment", message.body, {}, tag=1, message_id=message.message_id
        )
        found = read_submission(
            delivery, workflow="sentiment", max_body_bytes=1_000_000, clock=utc_now
        )
        assert found is not None
        read.append(found.item)
    assert [item.id for item in read] == [each["id"] for each in accepted]
    assert read[0].metadata == {"page": 3}
    assert read[2].text.startswith("Grüße, 你好")


def test_what_is_no_list_of_items_is_refused_whole(served: Served) -> None:
    with program(served, "items:write") as producer:
        for body in (
            {"workflow": "sentiment", "items": []},
            {"workflow": "sentiment", "items": [{"text": "x"}] * 501},
            {"workflow": "sentiment", "items": ["x"]},
            {"items": [{"text": "x"}]},
        ):
            assert code_of(producer.post("/items", json=body)) == "invalid_request"
        unknown = producer.post("/items", json={"workflow": "none", "items": [{"text": "x"}]})
        assert (unknown.status_code, code_of(unknown)) == (404, "no_such_workflow")


def test_without_a_broker_the_answer_says_send_again(engine: Engine) -> None:
    clock = TurnedClock()
    with (
        serving(make_test_desk(engine, clock, Lifecycle()), clock) as served,
        program(served, "items:write") as producer,
    ):
        body = {"workflow": "sentiment", "items": [{"id": "i1", "text": "x"}]}
        answer = producer.post("/items", json=body)
    assert (answer.status_code, code_of(answer)) == (503, "broker_away")
    assert answer.headers["retry-after"]
