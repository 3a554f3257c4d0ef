"""Is whatever a producer sends either an item or a refusal with a reason, and nothing else?"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.events.envelope import encode, parse
from shared.events.models import ItemSubmitted
from shared.events.submissions import (
    excerpt,
    guess_id,
    own_id,
    read_submission,
    receive_item,
    without_nul,
)
from shared.messages import Delivery

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMIT = 1_048_576


def delivery(body: bytes | str | dict[str, Any], **changed: Any) -> Delivery:
    if isinstance(body, dict):
        body = json.dumps(body)
    fields: dict[str, Any] = {
        "queue": "hitl.sentiment.inference",
        "exchange": "hitl.items",
        "routing_key": "sentiment",
        "body": body.encode() if isinstance(body, str) else body,
        "headers": {},
        "tag": 1,
    }
    return Delivery(**{**fields, **changed})


def read(body: bytes | str | dict[str, Any], **changed: Any) -> ItemSubmitted:
    return receive_item(
        delivery(body, **changed), workflow="sentiment", max_body_bytes=LIMIT, clock=lambda: NOW
    )


def refusal(body: bytes | str | dict[str, Any], **changed: Any) -> Permanent:
    with pytest.raises(Permanent) as refused:
        read(body, **changed)
    return refused.value


def test_text_id_and_metadata_are_taken_as_they_are() -> None:
    given = {"text": " Ünïcode 😀\n", "id": "a/1", "metadata": {"n": [1, None, {"x": 1.5}]}}
    submitted = read({**given, "comment": "ignored"})
    assert submitted.item.model_dump(exclude={"received_at"}) == given
    assert submitted.workflow == "sentiment"
    assert submitted.occurred_at == submitted.item.received_at == NOW


def test_the_id_is_the_bodys_else_the_cloudevents_id_else_the_message_id_else_new() -> None:
    headers = {"cloudEvents:id": "from-header"}
    assert read({"text": "x", "id": "from-body"}, headers=headers).item.id == "from-body"
    assert read({"text": "x"}, headers=headers, message_id="m").item.id == "from-header"
    assert read({"text": "x", "id": None}, message_id="m").item.id == "m"
    assert UUID(read({"text": "x"}).item.id).version == 4
    assert UUID(read({"text": "x"}, message_id="").item.id).version == 4, "empty is none"


SPELLINGS = ("cloudEvents_id", "cloudEvents:id", "ce-id", "ce_id")


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_same_event_twice_is_one_item_however_its_id_is_spelled(name: str) -> None:
    # Given an event as a library of CloudEvents writes it, which knows nothing of our ids
    headers = {name: "e-1", name.replace("id", "source"): "/shop"}
    first, again = (read({"text": "x"}, headers=headers) for _ in range(2))
    # I expect one id, one event, and the logger, which reads it too, to agree
    assert first.item.id == again.item.id == guess_id(delivery("no json", headers=headers)) == "e-1"
    assert first.event_id == again.event_id


def test_of_ids_that_disagree_the_first_spelling_counts_in_whatever_order_they_come() -> None:
    for count in range(1, len(SPELLINGS) + 1):
        given = SPELLINGS[-count:]
        for order in (given, given[::-1]):
            headers: dict[str, str] = {name: name for name in order}
            assert read({"text": "x"}, headers=headers, message_id="m").item.id == given[0]


def test_a_second_reader_does_not_invent_another_id() -> None:
    # Given two messages that bring no id, of which one has an empty message_id, and one that does
    def brought(body: dict[str, Any], message_id: str | None) -> str | None:
        given = delivery(body, message_id=message_id)
        return own_id(read_submission(given.body, max_body_bytes=LIMIT), given)

    # I expect the logger to be told so, whereas inference makes one up
    assert brought({"text": "x"}, None) is None
    assert brought({"text": "x"}, "") is None
    assert brought({"text": "x", "id": "a"}, None) == "a"


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1_700_000_000, datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        (None, NOW),
        (0, NOW),
        (-5, NOW),
        (1_700_000_000_000, NOW),  # milliseconds: beyond the year 9999
    ],
)
def test_the_producers_time_counts_where_it_is_one(
    timestamp: int | None, expected: datetime
) -> None:
    assert read({"text": "x"}, timestamp=timestamp).item.received_at == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b'{"text": "x"', "not_json"),
        (b"\xef\xbb\xbf" + b'{"text": "x"}', "not_json"),
        (b'{"text": "\\ud800"}', "not_json"),  # half an emoji
        (b'{"text": "x", "metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 301, "not_json"),
        (b'{"text": "x", "metadata": {"n": ' + b"9" * 5_000 + b"}}", "not_json"),
        ('{"text": "ü"}'.encode("latin-1"), "not_utf8"),
        ('{"text": "x"}'.encode("utf-16"), "not_utf8"),
        (b"[]", "schema"),
        (b'"x"', "schema"),
        (b"null", "schema"),
        (b"{}", "schema"),
        (b'{"text": 5}', "schema"),
        (b'{"text": null}', "schema"),
        (b'{"text": "x", "id": 5}', "schema"),
        (b'{"text": "x", "id": ""}', "schema"),
        (b'{"text": "x", "metadata": []}', "schema"),
        (b'{"text": "x", "id": "' + b"a" * 10_000 + b'"}', "schema"),
        (b'{"text": "x", "id": "a\\u0000"}', "schema"),  # not the item of the id "a\ufffd"
        (b'{"text": "x", "metadata": {"n\\u0000": 1, "n\\ufffd": 2}}', "schema"),
        (b'{"text": "x", "metadata": {"n": 1e400}}', "schema"),
        (b'{"text": "x", "metadata": {"n": [{"m": -1E+309}]}}', "schema"),
        (b'{"text": ""}', "empty_text"),
        (b'{"text": " \\n\\t\\r "}', "empty_text"),
        (b'{"text": "\\u0000"}', "empty_text"),
        (b'{"text": "\\u3000\\u00a0\\u2003"}', "empty_text"),  # spaces of other scripts
        (b'{"text": "\\u200b\\ufeff\\u2060"}', "empty_text"),  # characters without width
        (b'{"text": "' + b"a" * LIMIT + b'"}', "too_large"),
    ],
)
def test_what_is_no_item_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    refused = refusal(body)
    assert refused.reason == reason
    assert 0 < len(refused.detail) <= 500


def test_a_header_or_message_id_that_is_too_long_is_refused_too() -> None:
    assert refusal({"text": "x"}, headers={"cloudEvents_id": "a" * 201}).reason == "schema"
    assert refusal({"text": "x"}, message_id="a" * 201).reason == "schema"
    assert "NUL" in refusal({"text": "x"}, message_id="a\0").detail


def test_a_number_that_some_readers_take_for_infinity_is_refused_and_no_other() -> None:
    # JSON may say it, but no double holds it: it would be stored as something else
    assert "1.8e308" in refusal('{"text": "x", "metadata": {"n": 1e400}}').detail
    largest = read('{"text": "x", "metadata": {"n": 1.7976931348623157e308, "small": 5e-324}}')
    assert largest.item.metadata == {"n": 1.7976931348623157e308, "small": 5e-324}
    # What JSON cannot say and some writers write all the same is kept as text, as before
    assert read({"text": "x", "metadata": {"n": float("inf")}}).item.metadata == {"n": "inf"}


def test_metadata_are_as_deep_as_every_later_reader_can_read_or_refused() -> None:
    # Given metadata in metadata, from few levels to more than anybody reads
    for levels in (1, 150, 189, 190, 191, 197, 198, 199, 200, 201):
        metadata: dict[str, Any] = {}
        for _ in range(levels - 1):
            metadata = {"a": metadata}
        # If I submit them
        try:
            submitted = read({"text": "x", "metadata": metadata})
        except Permanent as refused:
            # I expect to be told at once, and no worker to set the event aside later
            assert levels > 190 and refused.reason in ("schema", "not_json")
            assert levels > 199 or "190 levels" in refused.detail
            continue
        assert levels <= 190
        sent = encode(submitted, source="test", traceparent="")
        assert parse(ItemSubmitted, sent.body) == submitted


def test_the_largest_body_that_is_allowed_is_read() -> None:
    frame = len(json.dumps({"text": ""}))
    assert len(read({"text": "a" * (LIMIT - frame)}).item.text) == LIMIT - frame


@given(
    st.text(),
    st.text(max_size=210),
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=5,
        ),
    ),
)
def test_any_text_is_an_item_that_postgres_can_store_or_is_refused(
    text: str, item_id: str, metadata: dict[str, Any]
) -> None:
    # Given whatever a JSON writer can write, NaN and NUL included
    try:
        item = read({"text": text, "id": item_id, "metadata": metadata}).item
    except Permanent as refused:
        assert refused.reason in ("empty_text", "schema")
        return
    # I expect no NUL, no NaN, and nothing else changed
    stored = json.dumps(item.model_dump(mode="json"), allow_nan=False)
    assert "\\u0000" not in stored
    assert item.text == text.replace("\0", "\ufffd")
    assert item.id == item_id
    assert len(item.metadata) == len(metadata)


@given(st.binary(max_size=300), st.none() | st.text(max_size=300))
def test_no_bytes_whatsoever_are_more_than_refused(body: bytes, message_id: str | None) -> None:
    # I expect a refusal, and an id and an excerpt that can be stored, the same every time
    assert refusal(body, message_id=message_id).reason in ("not_json", "not_utf8", "schema")
    failed = delivery(body, message_id=message_id)
    assert 1 <= len(guess_id(failed)) <= 200
    assert guess_id(failed) == guess_id(failed)
    assert "\0" not in guess_id(failed) + excerpt(failed)
    (guess_id(failed) + excerpt(failed)).encode()


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        (delivery(b'{"id" : "a-1", broken', message_id="m"), "a-1"),
        (delivery(b"broken", headers={"cloudEvents_id": "h"}, message_id="m"), "h"),
        (delivery(b"broken", headers={"cloudEvents_subject": "s"}), "s"),
        (delivery(b"broken", message_id="m"), "m"),
        (delivery(b"broken", message_id="m" * 201), "unreadable-"),
        (delivery({"text": "x", "id": "a\0"}), "unreadable-"),  # no failure of the item "a\ufffd"
        (delivery(b'{"id": "' + b"x" * 500 + b'"}'), "unreadable-"),
        # An id in the metadata names another thing: its item did not fail.
        (delivery({"metadata": {"id": "another"}, "text": 5}, message_id="m"), "m"),
        (delivery({"metadata": {"id": "another"}, "text": 5, "id": "own"}), "own"),
        (delivery({"item": {"metadata": {"id": "another"}, "id": "own"}, "score": 2}), "own"),
        (delivery({"text": 5, "id": 7}, message_id="m"), "m"),
        (delivery(b'{"text": 5, "id": "\\ud83d"}'), "?"),
    ],
)
def test_a_message_that_cannot_be_read_still_gets_the_best_id_there_is(
    failed: Delivery, expected: str
) -> None:
    assert guess_id(failed).startswith(expected)


def test_an_excerpt_is_short_and_readable() -> None:
    assert excerpt(delivery(b"\xff\x00abc")) == "\ufffd\ufffdabc"
    assert len(excerpt(delivery(b"x" * 10_000))) == 2_000


def test_text_without_nul_is_left_alone() -> None:
    text = "abc"
    assert without_nul(text) is text


@pytest.mark.parametrize(
    "body",
    [
        '{"id": "a", "text": "good", "text": "bad"}',
        '{"id": "a", "text": "x", "id": "b"}',
        '{"text": "x", "metadata": {"tier": "gold", "tier": "none"}}',
        '{"text": "x", "metadata": {"a": [{"b": 1, "c": 2, "b": 3}]}}',
    ],
)
def test_an_object_with_two_values_for_one_name_is_no_item(body: str) -> None:
    # Which of the two is meant nobody can know, and the next reader may take the other
    refused = refusal(body)
    assert refused.reason == "schema"
    assert "named more than once" in str(refused)


def test_the_same_name_in_two_objects_is_an_item() -> None:
    given = {"text": "x", "metadata": {"text": "y", "a": [{"n": 1}, {"n": 1}]}}
    assert read(given).item.metadata == given["metadata"]
