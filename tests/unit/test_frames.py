"""Are our frames the bytes that pika would write, and our reading what pika would read?"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from pika import frame, spec
from pika.spec import BasicProperties

from shared.frames import read_delivery, read_properties, write_message

MOST = 1_000  # bytes of a body in one frame
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
USUAL = {
    "content_type": SHORT,
    "headers": st.dictionaries(SHORT, TEXTS, max_size=9),
    "delivery_mode": st.sampled_from([1, 2]),
    "message_id": SHORT,
    "timestamp": st.integers(0, 2**63),
    "type": SHORT,
}
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | TEXTS
    | st.binary(max_size=40)
    | st.just(Decimal("1.5"))
    | st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(
        lambda time: time.replace(microsecond=0, tzinfo=UTC)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SHORT, inner, max_size=3),
    max_leaves=6,
)
ODD = {
    **USUAL,
    "headers": st.dictionaries(SHORT, VALUES, max_size=5),
    "content_encoding": SHORT,
    "priority": st.integers(0, 9),
    "correlation_id": SHORT,
    "reply_to": SHORT,
    "expiration": st.integers(0, 10**6).map(str),
    "user_id": SHORT,
    "app_id": SHORT,
    "cluster_id": SHORT,
}


def properties_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[BasicProperties]:
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: BasicProperties(**given))


def by_pika(method: spec.Basic.Publish, properties: BasicProperties, body: bytes) -> bytes:
    """What a connection of pika sends for a publish on channel 7."""
    frames = [frame.Method(7, method), frame.Header(7, len(body), properties)]
    frames += [frame.Body(7, body[at : at + MOST]) for at in range(0, len(body), MOST)]
    return b"".join(each.marshal() for each in frames)


@given(properties_of(USUAL), st.binary(max_size=3_000), SHORT, SHORT, st.booleans())
@example(BasicProperties(headers={}), b"", "", "", True)
def test_a_usual_message_becomes_the_same_bytes(
    properties: BasicProperties, body: bytes, exchange: str, routing_key: str, mandatory: bool
) -> None:
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    assert write_message(7, method, properties, body, MOST) == by_pika(method, properties, body)


@given(properties_of(ODD), st.binary(max_size=3_000))
@example(BasicProperties(headers={"n": True}), b"x")
@example(BasicProperties(headers={"n": b"bytes"}), b"x")
def test_an_odd_message_becomes_the_same_bytes_or_is_left_to_pika(
    properties: BasicProperties, body: bytes
) -> None:
    method = spec.Basic.Publish(exchange="e", routing_key="k")
    written = write_message(7, method, properties, body, MOST)
    assert written is None or written == by_pika(method, properties, body)


def test_what_pika_refuses_is_left_to_pika() -> None:
    for refused in (
        BasicProperties(message_id="m" * 256),
        BasicProperties(headers={"h" * 256: "x"}),
        BasicProperties(headers={1: "x"}),
        BasicProperties(message_id=5),
        BasicProperties(timestamp=-1),
        BasicProperties(headers={"h": "\ud800"}),
    ):
        assert write_message(7, spec.Basic.Publish(), refused, b"", MOST) is None


@given(properties_of(USUAL), st.binary(max_size=9), st.binary(max_size=9))
def test_usual_properties_are_read_as_pika_reads_them(
    properties: BasicProperties, before: bytes, after: bytes
) -> None:
    encoded = b"".join(properties.encode())
    end = len(before) + len(encoded)
    read = read_properties(before + encoded + after, len(before), end)
    assert read is not None
    assert read.__dict__ == BasicProperties().decode(encoded).__dict__


@given(properties_of(ODD))
@example(BasicProperties(headers={"n": b"laid out like a text"}))
def test_odd_properties_are_read_alike_or_left_to_pika(properties: BasicProperties) -> None:
    encoded = b"".join(properties.encode())
    read = read_properties(encoded, 0, len(encoded))
    assert read is None or read.__dict__ == BasicProperties().decode(encoded).__dict__


@given(
    properties_of(USUAL), st.binary(max_size=50), SHORT, SHORT, st.integers(0, 2**63), st.booleans()
)
@example(BasicProperties(), b"", "", "", 1, False)
def test_a_delivery_is_read_whole_or_not_at_all(
    properties: BasicProperties,
    body: bytes,
    exchange: str,
    routing_key: str,
    tag: int,
    redelivered: bool,
) -> None:
    # Given the frames of a delivery, and the first of another after them
    method = spec.Basic.Deliver("consumer", tag, redelivered, exchange, routing_key)
    frames = [frame.Method(7, method).marshal(), frame.Header(7, len(body), properties).marshal()]
    if body:
        frames.append(frame.Body(7, body).marshal())
    data = b"".join(frames)
    found = read_delivery(data + frames[0], 11, 7)
    # I expect what pika reads, to the end of the last
    assert found is not None
    assert found.method.__dict__ == method.__dict__
    assert (
        found.properties.__dict__
        == BasicProperties().decode(b"".join(properties.encode())).__dict__
    )
    assert (found.body, found.end) == (body, len(data))
    # If any of its bytes has not come yet, or it is another channel's, I expect to wait for it
    assert not any(read_delivery(data[:end], 11, 7) for end in range(len(data)))
    assert read_delivery(data, 11, 8) is None


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x20\x00" + rest))
@example(b"\x20\x00\x00\x00\x00\x08\x01aS\x00\x00\x00\x01\xff")
def test_bytes_that_mean_nothing_are_left_to_pika(data: bytes) -> None:
    # A value that is not UTF-8 is one of these: pika hands it over as bytes
    read = read_properties(data, 0, len(data))
    if read is not None:
        assert read.__dict__ == BasicProperties().decode(data).__dict__
