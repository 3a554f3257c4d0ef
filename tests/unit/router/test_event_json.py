"""Is what the router writes, byte for byte, what the event's models would write?"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.handler import Router
from services.router.policy import Policy
from services.router.route import route
from shared.errors import Permanent, Retryable
from shared.events.envelope import encode
from shared.events.models import Item, ItemScored, Prediction
from shared.hashing import salt_version
from shared.messages import Delivery, Outgoing
from tests.support.expected_route import routed_event

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LABELS = ("positive", "negative", 'nasty "label" \\ \u2028 😀')
KEYS = st.sampled_from(["item", "prediction", 'a"b', "\\", "\u0000", "é", '},"prediction":{'])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | texts, inner, max_size=3),
    max_leaves=6,
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
times = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=zones)
shares = st.floats(0.0, 1.0)


@st.composite
def events(draw: st.DrawFn) -> ItemScored:
    label, confidence = draw(st.sampled_from(LABELS)), draw(shares)
    return ItemScored(
        workflow=draw(st.sampled_from(["sentiment", "other-1"])),
        occurred_at=draw(times),
        item=Item(
            id=draw(texts.filter(bool)),
            text=draw(texts.filter(bool)),
            metadata=draw(st.dictionaries(KEYS | texts, values, max_size=3)),
            received_at=draw(times),
        ),
        prediction=Prediction(
            label=label,
            confidence=confidence,
            distribution={label: confidence, "rest": draw(shares)},
            model_version=draw(texts),
            tokens=draw(st.integers(0, 10_000)),
            truncated=draw(st.booleans()),
        ),
    )


def policy(threshold: float, rate: float, due_minutes: int | None) -> Policy:
    rule = {
        "name": "r",
        "when": {"min_characters": 20},
        "then": "review",
        "queue": "desk 1",
        "priority": 7,
        "reason": "because \\ “so”",
    }
    if due_minutes is not None:
        rule["due_minutes"] = due_minutes
    return Policy.from_mapping(
        {"threshold": threshold, "panel": {"rate": rate}, "rules": [rule]}, LABELS
    )


policies = st.builds(policy, shares, shares, st.none() | st.integers(1, 10_000))


def router(by: Policy) -> Router:
    return Router(lambda _workflow: by, salt="pepper", clock=lambda: NOW)


def delivered(message: Outgoing, body: bytes) -> Delivery:
    return Delivery("hitl.router", "", message.routing_key, body, message.headers, 1)


def message_of(router: Router, event: ItemScored, body: bytes) -> Outgoing:
    sent = encode(event, source="elsewhere", traceparent="")
    (result,) = router.handle([delivered(sent, body)])
    assert not isinstance(result, Permanent | Retryable), result
    (message,) = result
    return message


def by_the_models(by: Policy, event: ItemScored) -> Outgoing:
    chosen = route(
        by,
        event.workflow,
        event.item,
        event.prediction,
        "pepper",
        salt_version("pepper"),
        NOW,
    )
    return encode(routed_event(event, chosen, NOW), source="router", traceparent="")


@given(events(), policies)
def test_every_event_is_written_as_its_models_write_it(event: ItemScored, by: Policy) -> None:
    # Given any event that can be read, and any policy, if it is routed, and once more
    one, body = router(by), event.model_dump_json().encode()
    first, again = message_of(one, event, body), message_of(one, event, body)
    # I expect the message of the event that the models make of it, each time
    expected = by_the_models(by, ItemScored.model_validate_json(body))
    assert first.body == again.body == expected.body
    for message in (first, again):
        assert (message.exchange, message.routing_key) == (expected.exchange, expected.routing_key)
        assert (message.message_id, message.type) == (expected.message_id, expected.type)
        assert message.timestamp == expected.timestamp
        assert without_trace(message) == without_trace(expected)


def without_trace(message: Outgoing) -> list[tuple[str, object]]:
    """The headers in their order, less what is new in each message."""
    return [(name, value) for name, value in message.headers.items() if name != "traceparent"]


def spelled(content: str) -> bytes:
    """An event of another producer: its own order, spaces, escapes, numbers, times, more fields."""
    return f"""
        {{"prediction": {{"confidence": 9.70e-1, "label": "posi\\u0074ive", "extra": [],
          "distribution": {{"positive": 0.970, "negative": 3E-2, "tiny": 1e-07}},
          "model_version": "m\\/1", "tokens": 5.0}},
          "item": {{"id": "first", "id": "a", "text": "\\ud83d\\ude00 \\u00e9", "unknown": 1,
          "received_at": "2026-03-01 13:00:00+01:00", "metadata": {content}}},
          "occurred_at": 1772366400, "workflow": "sentiment", "decision": {{"label": "x"}}}}
    """.encode()


@pytest.mark.parametrize(
    "content",
    ["{}", '{"n": NaN, "i": -Infinity}', '{"a": 1, "a": 2}', '{"big": 1E400, "f": 1.0e-3}',
     '{"item": {"prediction": {}}, ",\\"prediction\\":{": 1}'],
)  # fmt: skip
def test_another_spelling_is_written_anew(content: str) -> None:
    # Given the JSON of a producer that writes it in another way than we do
    body, by = spelled(content), policy(0.5, 0.0, None)
    event = ItemScored.model_validate_json(body)
    # I expect ours to leave
    assert message_of(router(by), event, body).body == by_the_models(by, event).body
    json.loads(by_the_models(by, event).body)
