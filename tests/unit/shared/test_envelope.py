"""Is an event the same after its journey, and is everything else refused with a reason?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.events.envelope import decode, encode
from shared.events.models import Event, ItemAccepted, ItemScored
from shared.events.traceparent import trace_id
from shared.messages import Delivery, Headers, Outgoing
from tests.support.example_events import ACCEPTED, EXAMPLES, ITEM, SCORED

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


def delivered(message: Outgoing, **changed: Any) -> Delivery:
    fields: dict[str, Any] = {
        "queue": "q",
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "body": message.body,
        "headers": message.headers,
        "message_id": message.message_id,
        "tag": 1,
    }
    return Delivery(**{**fields, **changed})


def encoded(event: Event = SCORED) -> Outgoing:
    return encode(event, source="inference", traceparent=TRACE)


def reason(delivery: Delivery) -> str:
    with pytest.raises(Permanent) as refused:
        decode(delivery, ItemScored)
    assert refused.value.detail
    return refused.value.reason


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_an_event_survives_the_journey(event: Event) -> None:
    assert decode(delivered(encoded(event)), type(event)) == event


@given(
    st.text(min_size=1, max_size=200),
    st.text(min_size=1),
    st.dictionaries(st.text(), st.recursive(st.floats() | st.text(), st.lists, max_leaves=5)),
)
def test_any_text_and_metadata_survive_and_the_body_is_strict_json(
    item_id: str, text: str, metadata: dict[str, Any]
) -> None:
    item = ITEM.model_copy(update={"id": item_id, "text": text, "metadata": metadata})
    message = encoded(SCORED.model_copy(update={"item": item}))
    # I expect JSON that Postgres reads too: no NaN, no Infinity
    body = json.loads(message.body, parse_constant=lambda constant: pytest.fail(constant))
    assert (body["item"]["id"], body["item"]["text"]) == (item_id, text)
    assert decode(delivered(message), ItemScored).item.text == text


def test_the_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    message = encoded()
    headers = dict(message.headers)
    assert trace_id(str(headers.pop("traceparent"))) == "ab" * 16
    assert headers == {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": str(SCORED.event_id),
        "cloudEvents_type": "item.scored",
        "cloudEvents_source": "/hitl/inference",
        "cloudEvents_subject": ITEM.id,
        "cloudEvents_time": "2026-03-01T12:00:00.250000+00:00",
        "cloudEvents_schemaversion": "1",
    }
    assert (message.exchange, message.routing_key) == ("hitl.events", "item.scored.sentiment")
    assert message.message_id == str(SCORED.event_id)
    assert (message.type, message.timestamp) == ("item.scored", 1772366400)
    assert message.content_type == "application/json"


@pytest.mark.parametrize(
    "headers",
    [
        {"cloudEvents:type": "item.scored"},  # the other prefix of the AMQP binding
        {"cloudEvents_type": b"item.scored"},
        {},  # then the routing key says it
        {"cloudEvents_type": "item.scored", "cloudEvents_schemaversion": "1"},
    ],
)
def test_the_type_is_found_however_it_is_said(headers: Headers) -> None:
    assert decode(delivered(encoded(), headers=headers), ItemScored) == SCORED


@pytest.mark.parametrize(
    "headers",
    [
        {"cloudEvents_type": "item.vanished"},
        {"cloudEvents_type": "item.scored", "cloudEvents_schemaversion": "2"},
        {"cloudEvents_type": "item.scored", "cloudEvents_schemaversion": "one"},
        {"cloudEvents_type": "item.scored", "cloudEvents_schemaversion": "9" * 10_000},
        {"cloudEvents_type": "item.accepted"},  # known, but not what this queue is for
    ],
)
def test_an_unknown_type_or_version_is_refused(headers: Headers) -> None:
    assert reason(delivered(encoded(), headers=headers)) == "unknown_type"


def test_one_of_several_expected_events_is_taken() -> None:
    assert decode(delivered(encoded(ACCEPTED)), ItemScored, ItemAccepted) == ACCEPTED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"hello", "not_json"),
        (b"{}", "schema"),
        (b"[]", "schema"),
        (b"null", "schema"),
        (b'{"workflow": "sentiment"}', "schema"),
        ("{}".encode("utf-16"), "not_utf8"),
        (b'{"workflow": "\xff"}', "not_utf8"),
    ],
)
def test_a_body_that_is_no_event_is_refused_with_its_reason(body: bytes, expected: str) -> None:
    assert reason(delivered(encoded(), body=body)) == expected


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_are_more_than_refused(body: bytes) -> None:
    assert reason(delivered(encoded(), body=body)) in ("not_json", "not_utf8", "schema")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "utf-16"])
def test_a_compressed_or_recoded_body_is_refused(encoding: str) -> None:
    assert reason(delivered(encoded(), content_encoding=encoding)) == "not_utf8"


@pytest.mark.parametrize("encoding", [None, "", "utf-8", "UTF-8", "utf8", "identity"])
def test_plain_utf8_goes_by_many_names(encoding: str | None) -> None:
    assert decode(delivered(encoded(), content_encoding=encoding), ItemScored) == SCORED


def test_a_refusal_names_the_field_and_never_quotes_the_text() -> None:
    # Given a body with a secret in it and a wrong confidence
    body = json.loads(encoded().body)
    body["item"]["text"] = "my secret"
    body["prediction"]["confidence"] = "my secret"
    with pytest.raises(Permanent, match=r"prediction\.confidence") as refused:
        decode(delivered(encoded(), body=json.dumps(body).encode()), ItemScored)
    assert "secret" not in str(refused.value)
