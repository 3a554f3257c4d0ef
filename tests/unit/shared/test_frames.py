"""Are our frames the bytes that pika would write, and our reading what pika would read?"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from itertools import cycle
from struct import pack
from typing import Any

import pika
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pika import frame, spec
from pika.channel import Channel
from pika.spec import BasicProperties

from shared.messages import Delivery, Outgoing
from shared.messaging.amqp.fast_connection import BatchingConnection, DeliverySink
from shared.messaging.amqp.headers import delivery_of
from shared.messaging.amqp.read import NotWhole, read_delivery
from shared.messaging.amqp.templates import Reader
from shared.messaging.amqp.write import write_message
from shared.messaging.publisher import _publish

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
# What only others write, and what orders a queue.
FOREIGN = {
    "content_encoding": SHORT,
    "priority": st.integers(0, 255),
    "correlation_id": SHORT,
    "reply_to": SHORT,
    "expiration": st.integers(0, 10**6).map(str),
    "user_id": SHORT,
    "app_id": SHORT,
    "cluster_id": SHORT,
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
ODD = {**USUAL, **FOREIGN, "headers": st.dictionaries(SHORT, VALUES, max_size=5)}


QUEUES = {b"consumer": "hitl.router"}
MESSAGES = st.builds(
    Outgoing,
    exchange=SHORT,
    routing_key=SHORT,
    body=st.binary(max_size=3_000),
    message_id=SHORT,
    headers=st.dictionaries(SHORT, TEXTS, max_size=9),
    content_type=SHORT,
    type=st.none() | SHORT,
    timestamp=st.none() | st.integers(0, 2**63),
    priority=st.none() | st.integers(0, 255),
)
ODD_MESSAGES = st.builds(
    Outgoing,
    exchange=SHORT,
    routing_key=SHORT,
    body=st.binary(max_size=3_000),
    message_id=SHORT,
    headers=st.dictionaries(SHORT, VALUES, max_size=5),
    content_encoding=st.none() | SHORT,
    expiration_ms=st.none() | st.integers(0, 10**6),
    priority=st.none() | st.integers(0, 255),
)


def properties_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[BasicProperties]:
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: BasicProperties(**given))


def by_pika(message: Outgoing) -> bytes:
    """What a connection of pika sends for a publish on channel 7."""
    sent: list[bytes] = []

    class Recording(pika.SelectConnection):  # type: ignore[misc]  # pika ships no types
        _body_max_length = MOST
        is_open = publisher_confirms = basic_nack = True

        def __init__(self) -> None:
            self.callbacks = pika.callback.CallbackManager()

        def _output_marshaled_frames(self, marshaled_frames: list[bytes]) -> None:
            sent.extend(marshaled_frames)

    channel = Channel(Recording(), 7, lambda _channel: None)
    channel._set_state(channel.OPEN)
    _publish(channel, message)
    return b"".join(sent)


@given(MESSAGES)
@example(Outgoing("", "", b"", "", content_type=""))
@example(Outgoing("e", "k", b"of a file", "m", priority=0))
@example(Outgoing("e", "k", b"", "m", headers={"255": "x" * 255, "256": "x" * 256}))
def test_a_usual_message_becomes_the_same_bytes(message: Outgoing) -> None:
    assert write_message(7, message, MOST) == by_pika(message)


@given(ODD_MESSAGES)
@example(Outgoing("e", "k", b"x", "m", headers={"n": True}))
@example(Outgoing("e", "k", b"x", "m", headers={"n": b"bytes"}))
@example(Outgoing("e", "k", b"x", "m", expiration_ms=5))
@example(Outgoing("e", "k", b"x", "m", content_encoding="gzip"))
def test_an_odd_message_becomes_the_same_bytes_or_is_left_to_pika(message: Outgoing) -> None:
    written = write_message(7, message, MOST)
    assert written is None or written == by_pika(message)


def test_what_pika_refuses_is_left_to_pika() -> None:
    refused: list[dict[str, Any]] = [
        {"message_id": "m" * 256},
        {"headers": {"h" * 256: "x"}},
        {"headers": {1: "x"}},
        {"headers": {"h": "\ud800"}},
        {"message_id": 5},
        {"timestamp": -1},
        {"routing_key": "k" * 256},
        {"priority": 256},
        {"priority": -1},
    ]
    for fields in refused:
        message = Outgoing(
            **{"exchange": "e", "routing_key": "k", "message_id": "m", "body": b""} | fields
        )
        assert write_message(7, message, MOST) is None


def frames_of(properties: BasicProperties, body: bytes, tag: int = 1) -> list[bytes]:
    """The frames of a delivery on channel 7."""
    method = spec.Basic.Deliver("consumer", tag, tag % 2 == 0, "exchange", "routing.kéy")
    frames = [frame.Method(7, method), frame.Header(7, len(body), properties)]
    frames += [frame.Body(7, body)] if body else []
    return [each.marshal() for each in frames]


def as_pika_reads(frames: list[bytes], properties: BasicProperties, body: bytes) -> Delivery:
    method = spec.Basic.Deliver()
    method.decode(frames[0], 11)
    read = BasicProperties().decode(b"".join(properties.encode()))
    return delivery_of("hitl.router", method, read, body, 3)


@given(properties_of(USUAL | FOREIGN), st.binary(max_size=50), st.integers(0, 2**63))
@example(BasicProperties(), b"", 1)
@example(BasicProperties(priority=0, content_encoding="utf-8", headers={}), b"of kombu", 1)
def test_a_usual_delivery_is_read_as_pika_reads_it(
    properties: BasicProperties, body: bytes, tag: int
) -> None:
    # Given the frames of a delivery, and the first of another after them
    frames = frames_of(properties, body, tag)
    data = b"".join(frames)
    # I expect what pika reads, to the end of the last
    expected = as_pika_reads(frames, properties, body), len(data)
    assert read_delivery(data + frames[0], 11, 7, QUEUES, 3) == expected
    # If any of its bytes after the first frame has not come yet, I expect to wait for it
    for end in range(len(frames[0]), len(data)):
        with pytest.raises(NotWhole):
            read_delivery(data[:end], 11, 7, QUEUES, 3)
    # If it is another channel's, or nobody's, I expect pika to see to it
    assert read_delivery(data, 11, 8, QUEUES, 3) is None
    assert read_delivery(data, 11, 7, {}, 3) is None


@given(properties_of(ODD), st.binary(max_size=50))
@example(BasicProperties(headers={"n": b"laid out like a text"}), b"")
def test_an_odd_delivery_is_read_alike_or_left_to_pika(
    properties: BasicProperties, body: bytes
) -> None:
    frames = frames_of(properties, body)
    read = read_delivery(b"".join(frames), 11, 7, QUEUES, 3)
    assert read is None or read[0] == as_pika_reads(frames, properties, body)


def read_by(reader: Reader, data: bytes, end: int) -> tuple[Delivery, int] | None:
    """The first delivery in these bytes, as a connection asks for it."""
    known: list[Delivery] = []
    position = reader.read_known(data, 0, known)
    if known:
        return known[0], position
    assert position == 0
    return reader.read(data, 11, end)


WHOLE = st.fixed_dictionaries(USUAL).map(lambda given: BasicProperties(**given))


@given(st.lists(st.tuples(WHOLE | properties_of(ODD), st.binary(max_size=50)), max_size=6))
def test_what_was_read_before_changes_nothing_of_what_is_read(
    deliveries: list[tuple[BasicProperties, bytes]],
) -> None:
    # Given a reader that has read some deliveries, and each of them twice
    reader = Reader(7, QUEUES, 3, learn_one_of=1)
    for tag, (properties, body) in enumerate([*deliveries, *deliveries], 1):
        frames = frames_of(properties, body, tag)
        data = b"".join(frames)
        # I expect what one without a memory reads
        read = read_by(reader, data, len(frames[0]) - 1)
        assert read == read_delivery(data, 11, 7, QUEUES, 3)
        # And that it waits for what has not come
        if read is not None:
            for end in range(len(frames[0]), len(data)):
                with pytest.raises(NotWhole):
                    read_by(reader, data[:end], len(frames[0]) - 1)


EVENT = BasicProperties(
    content_type="application/json",
    headers={
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": "i" * 36,
        "cloudEvents_type": "item.scored",
        "cloudEvents_source": "/hitl/inference",
        "cloudEvents_subject": "item-1",
        "traceparent": "t" * 55,
    },
    delivery_mode=2,
    message_id="i" * 36,
    timestamp=1_700_000_000,
    type="item.scored",
)


@given(st.data())
def test_any_byte_that_differs_from_the_last_delivery_is_seen(data: st.DataObject) -> None:
    # Given a reader that knows the shape of an event
    frames = frames_of(EVENT, b"body")
    usual = b"".join(frames)
    end = len(frames[0]) - 1
    reader = Reader(7, QUEUES, 3)
    reader.read(usual, 11, end)
    assert reader.read_known(usual, 0, []) == len(usual)
    # When any of its bytes is another
    at = data.draw(st.integers(0, len(usual) - 1))
    changed = usual[:at] + bytes([data.draw(st.integers(0, 255))]) + usual[at + 1 :]

    def outcome(read: Callable[[], object]) -> object:
        try:
            return read()
        except NotWhole:
            return "more"

    # I expect what a reader without a memory makes of it, and nothing of what is no delivery
    expected = outcome(lambda: read_delivery(changed, 11, 7, QUEUES, 3))
    if changed[:11] + changed[end : end + 1] == usual[:11] + usual[end : end + 1]:
        assert outcome(lambda: read_by(reader, changed, end)) == expected
    else:
        assert reader.read_known(changed, 0, []) == 0


def test_a_body_in_several_frames_is_left_to_pika() -> None:
    first, header, _ = frames_of(BasicProperties(), b"abcdef")
    parts = [frame.Body(7, part).marshal() for part in (b"abc", b"def")]
    assert read_delivery(b"".join([first, header, *parts]), 11, 7, QUEUES, 3) is None


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_that_mean_nothing_are_left_to_pika(properties: bytes, after: bytes) -> None:
    # Given properties of any bytes (a value that is not UTF-8 is one of these), and any frames
    first = frames_of(BasicProperties(), b"")[0]
    size = 14 + len(properties)
    header = pack(">BHLHHQ", 2, 7, size - 2, 60, 0, 0) + properties + b"\xce"
    for data in (first + header + after, first + after, b"\x00" * 11 + after):
        # I expect no other exception than the one that waits for more
        with suppress(NotWhole):
            read_delivery(data, 11, 7, QUEUES, 3)


class Taker(BatchingConnection):
    """What a connection hands over of the bytes that it is given."""

    def __init__(self, learn_one_of: int) -> None:
        self._frame_buffer = b""
        self.frames_received = self.bytes_received = 0
        self.taken: list[object] = []
        reader = Reader(7, QUEUES, 3, learn_one_of=learn_one_of)
        self.sink = DeliverySink(reader, self.taken.extend)

    def _deliver_frame_to_channel(self, content: frame.Frame) -> None:
        # What was read of odd properties cannot always be written.
        self.taken.append("header" if isinstance(content, frame.Header) else content.marshal())

    def _process_frame(self, content: frame.Frame) -> None:
        self.taken.append(content.marshal())


EVENTS = st.fixed_dictionaries(
    {
        "content_type": st.just("application/json"),
        "headers": st.fixed_dictionaries(
            {"cloudEvents_type": st.sampled_from(["a", "b"]), "subject": st.sampled_from("xyü")}
        ),
        "delivery_mode": st.just(2),
        "message_id": st.sampled_from(["m", "n", "é"]),
        "timestamp": st.integers(0, 9),
        "type": st.sampled_from(["a", "b"]),
    }
).map(lambda given: BasicProperties(**given))


@given(st.integers(0, 2**16 - 1), st.binary(max_size=80))
@example(BasicProperties.FLAG_HEADERS, b"\x00\x00\x00\x0a\x00T" + b"\xff" * 8)
def test_no_properties_end_a_connection(flags: int, properties: bytes) -> None:
    # Given a delivery whose properties are any bytes
    first = frames_of(BasicProperties(), b"")[0]
    size = 14 + len(properties)
    header = pack(">BHLHHQH", 2, 7, size, 60, 0, 2, flags) + properties + b"\xce"
    taker = Taker(1)
    # I expect its body to arrive all the same, and that of the next
    taker._on_data_available(first + header + frame.Body(7, b"ab").marshal())
    taker._on_data_available(b"".join(frames_of(EVENT, b"next")))
    assert any(each == frame.Body(7, b"ab").marshal() for each in taker.taken) or (
        isinstance(taker.taken[0], Delivery) and taker.taken[0].body == b"ab"
    )
    assert isinstance(taker.taken[-1], Delivery)
    assert taker.taken[-1].body == b"next"


OTHERS = st.sampled_from([frame.Heartbeat(), frame.Method(1, spec.Basic.Ack(5))])


@given(
    st.lists(st.tuples(EVENTS | properties_of(ODD), st.binary(max_size=9)) | OTHERS, max_size=20),
    st.lists(st.integers(1, 400), min_size=1, max_size=9),
)
def test_a_stream_is_taken_in_its_order_however_it_is_cut(
    stream: list[tuple[BasicProperties, bytes] | frame.Frame], cuts: list[int]
) -> None:
    # Given deliveries of few and of many kinds, with other frames in between
    data = b"".join(
        each.marshal()
        if isinstance(each, frame.Frame)
        else b"".join(frames_of(each[0], each[1], tag))
        for tag, each in enumerate(stream, 1)
    )
    # If one connection learns from each of them, and gets the bytes in pieces
    learning, unlearned = Taker(1), Taker(10**9)
    pieces = cycle(cuts)
    start = 0
    while start < len(data):
        stop = start + next(pieces)
        learning._on_data_available(data[start:stop])
        start = stop
    # I expect it to take what another takes that gets them at once and has learned one at most
    unlearned._on_data_available(data)
    assert learning.taken == unlearned.taken
    assert learning.frames_received == unlearned.frames_received
    assert learning.bytes_received == unlearned.bytes_received == len(data)
