"""Do items sent over HTTP reach the broker as any producer's, and only those that should?"""

import json
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine, text

from shared.clock import utc_now
from shared.events.submissions import receive_item
from shared.messages import Delivery
from shared.messaging.connection import Broker
from shared.service.lifecycle import Lifecycle
from shared.topology import inference_queue, topology
from shared.workflows.files import Workflow
from tests.support.amqp_client import outsider
from tests.support.api_client import code_of, program
from tests.support.review_service import Served, TurnedClock, make_test_context, serving

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
    context = make_test_context(engine, clock, Lifecycle(), publish=broker.publish)
    with serving(context, clock) as served:
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
        found = receive_item(
            delivery, workflow="sentiment", max_body_bytes=1_000_000, clock=utc_now
        )
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
        serving(make_test_context(engine, clock, Lifecycle()), clock) as served,
        program(served, "items:write") as producer,
    ):
        body = {"workflow": "sentiment", "items": [{"id": "i1", "text": "x"}]}
        answer = producer.post("/items", json=body)
    assert (answer.status_code, code_of(answer)) == (503, "broker_away")
    assert answer.headers["retry-after"]


def test_a_request_with_a_key_sent_again_brings_the_same_items(served: Served) -> None:
    items = [{"text": "the same text"}, {"text": "the same text"}, {"id": "mine", "text": "x"}]

    def ids(producer: httpx.Client, key: str, items: list[dict[str, str]]) -> list[str]:
        body = {"workflow": "sentiment", "items": items}
        answer = producer.post("/items", json=body, headers={"Idempotency-Key": key})
        return [each["id"] for each in answer.json()["accepted"]]

    with (
        program(served, "items:write") as producer,
        program(served, "items:write", name="another") as another,
    ):
        first = ids(producer, "load-1", items)
        # Given an answer that never arrived, and the same request again: the same three items
        assert ids(producer, "load-1", items) == first
        assert (len(set(first)), first[2]) == (3, "mine")
        # Another key, another program or another text under the old key: other items, none lost
        assert not {*ids(producer, "load-2", items[:2])} & {*first}
        assert not {*ids(another, "load-1", items[:2])} & {*first}
        assert not {*ids(producer, "load-1", [{"text": "another text"}])} & {*first}


@pytest.mark.parametrize(
    "body",
    [
        '{"workflow": "sentiment", "items": [{"id": "a", "text": "good", "text": "bad"}]}',
        '{"workflow": "sentiment", "items": [{"text": "a", "metadata": {"n": {"x": 1, "x": 2}}}]}',
        '{"workflow": "none", "items": [{"text": "a"}], "workflow": "sentiment"}',
    ],
)
def test_an_object_with_two_values_for_one_name_is_refused(served: Served, body: str) -> None:
    with program(served, "items:write") as producer:
        headers = {"Content-Type": "application/json"}
        answer = producer.post("/items", content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert "named more than once" in answer.text


def test_a_body_that_is_no_json_is_told_what_to_send(served: Served) -> None:
    with program(served, "items:write") as producer:
        good = b'{"workflow": "sentiment", "items": [{"text": "a"}]}'
        plain = producer.post("/items", content=good, headers={"Content-Type": "text/plain"})
        assert plain.status_code == 422
        assert "Content-Type: application/json" in plain.json()["error"]["message"]
        headers = {"Content-Type": "application/json"}
        latin = producer.post("/items", content=good + b"\xff", headers=headers)
        assert latin.status_code == 400
        assert "UTF-8" in latin.json()["error"]["message"]


def test_an_edit_of_what_is_recorded_is_refused_by_name(
    served: Served, amqp_url: str, engine: Engine
) -> None:
    # Given an item in the record
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO item (workflow, id, text, metadata, status, progress, status_at,"
                " updated_at) VALUES ('sentiment', 'i1', 'a good film', '{\"page\": 3}',"
                " 'AI_ACCEPTED', 21, now(), now())"
            )
        )
    # If it is sent again as it was, with another text, with other metadata (as a time of sending),
    # and another one that is two texts in one request
    items = [
        {"id": "i1", "text": "a good film", "metadata": {"page": 3.0}},
        {"id": "i1", "text": "I will find you", "metadata": {"page": 3}},
        {"id": "i1", "text": "a good film"},
        {"id": "i2", "text": "one"},
        {"id": "i2", "text": "other"},
        {"id": "i2", "text": "one"},
    ]
    with program(served, "items:write") as producer:
        answers = [
            producer.post("/items", json={"workflow": "sentiment", "items": some}).json()
            for some in (items[:1], items[1:2], items[2:])
        ]
    # I expect the edits to be refused by name, and the rest to be in the queue
    assert [len(answer["accepted"]) for answer in answers] == [1, 0, 3]
    codes = [[(each["index"], each["code"]) for each in answer["refused"]] for answer in answers]
    assert codes == [[], [(0, "edited")], [(2, "edited")]]
    with outsider(amqp_url) as outside:
        outside.take(QUEUE, 4)


def test_a_number_that_no_double_holds_is_refused_and_not_changed(served: Served) -> None:
    # Given a request with a number that some readers take for infinity
    content = '{"workflow": "sentiment", "items": [{"text": "x", "metadata": {"n": 1e400}}]}'
    with program(served, "items:write") as producer:
        headers = {"Content-Type": "application/json"}
        answer = producer.post("/items", content=content, headers=headers)
    # I expect to be told, and what to do
    assert answer.status_code == 422, answer.text
    assert "send it as text" in answer.text


def test_a_prediction_that_is_no_answer_is_refused_with_its_place(
    engine: Engine, broker: Broker, amqp_url: str
) -> None:
    # Given a workflow of which items bring predictions, and two of these, one with an unknown label
    clock = TurnedClock()
    flow = Workflow(name="sentiment", answer="labels", labels=("toxic", "insult"))
    context = make_test_context(
        engine, clock, Lifecycle(), {"sentiment": flow}, publish=broker.publish
    )
    good, bad = (
        {
            "text": "You idiot",
            "prediction": {
                "answer": {"labels": labels}, "confidence": 0.9, "model_version": "theirs@1"
            },
        }
        for labels in (["insult"], ["toxic", "rude"])
    )  # fmt: skip
    with serving(context, clock) as served, program(served, "items:write") as producer:
        both = producer.post("/items", json={"workflow": "sentiment", "items": [good, bad]})
        alone = producer.post("/items", json={"workflow": "sentiment", "items": [bad]})
    # I expect the good one to be taken and the bad one to be named
    assert both.status_code == 202, both.text
    assert [each["index"] for each in both.json()["accepted"]] == [0]
    (refused,) = both.json()["refused"]
    assert (refused["index"], refused["code"]) == (1, "schema")
    assert "prediction.labels[1]: no such label: 'rude'" in refused["message"]
    # and where nothing was taken, an error that says why
    assert (alone.status_code, code_of(alone)) == (422, "nothing_accepted")
    assert "prediction.labels[1]: no such label" in alone.json()["error"]["message"]
    assert alone.json()["refused"] == [{**refused, "index": 0}]
    with outsider(amqp_url) as outside:
        (taken,) = outside.take(QUEUE, 1)
    assert json.loads(taken.body) == good
