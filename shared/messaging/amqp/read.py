"""A delivery out of its frames, field by field.

Pure. It knows every property, and headers that are all texts. For what is unusual the answer is
None, and pika's own code does the work.
"""

from collections.abc import Iterator, Mapping
from struct import error

from pika import spec

from shared.messages import Delivery
from shared.messaging.amqp.headers import MAX_BYTES
from shared.messaging.amqp.layout import (
    ADDRESSES,
    ADDRESSES_SET,
    CONTENT,
    CONTENT_ENCODING,
    CONTENT_FIELDS,
    CONTENT_TYPE,
    DELIVERY_MODE,
    FRAME,
    HEADERS,
    KNOWN,
    LONG,
    MESSAGE_ID,
    PRIORITY,
    SENDERS,
    SENDERS_SET,
    TAG,
    TEXT,
    TIME,
    TIMESTAMP,
    TYPE,
)


class NotWhole(Exception):
    """A delivery of which more has yet to come."""


def read_delivery(
    data: bytes, offset: int, channel: int, queues: Mapping[bytes, str], generation: int
) -> tuple[Delivery, int] | None:
    """The delivery that starts with the arguments of a Basic.Deliver at `offset`, and where the
    last of its frames ends. `queues` are those that the channel consumes, by their consumer tags.
    None where the body takes several frames or anything is unusual.

    Raises:
        NotWhole: the frames up to here are what it takes, but more of them has yet to come.
    """
    content_type = content_encoding = priority = message_id = timestamp = type_ = None
    others: dict[str, str] | None = None
    headers: dict[str, str] = {}
    try:
        start, offset = offset + 1, offset + 1 + data[offset]
        queue = queues[data[start:offset]]
        tag, bits = TAG.unpack_from(data, offset)
        offset += TAG.size
        start, offset = offset + 1, offset + 1 + data[offset]
        exchange = data[start:offset].decode()
        start, offset = offset + 1, offset + 1 + data[offset]
        routing_key = data[start:offset].decode()
        available = len(data)
        if available <= offset + CONTENT.size:
            raise NotWhole
        kind, number, size, _, _, length, flags = CONTENT.unpack_from(data, offset + 1)
        offset += 1 + CONTENT.size
        end = offset + size - CONTENT_FIELDS
        if kind != spec.FRAME_HEADER or number != channel or flags & ~KNOWN or size > MAX_BYTES:
            return None
        if available <= end + (FRAME.size if length else 0):
            raise NotWhole
        if data[end] != spec.FRAME_END:
            return None
        if flags & CONTENT_TYPE:
            start, offset = offset + 1, offset + 1 + data[offset]
            content_type = data[start:offset].decode()
        if flags & CONTENT_ENCODING:
            start, offset = offset + 1, offset + 1 + data[offset]
            content_encoding = data[start:offset].decode()
        if flags & HEADERS:
            start = offset + LONG.size
            offset = start + LONG.unpack_from(data, offset)[0]
            texts = _read_texts(data, start, offset)
            if texts is None:
                return None
            headers = texts
        if flags & DELIVERY_MODE:
            offset += 1
        if flags & PRIORITY:
            priority = data[offset]
            offset += 1
        if flags & ADDRESSES_SET:
            offset = _read_short(data, offset, flags, ADDRESSES, others := {})
        if flags & MESSAGE_ID:
            start, offset = offset + 1, offset + 1 + data[offset]
            message_id = data[start:offset].decode()
        if flags & TIMESTAMP:
            timestamp = TIME.unpack_from(data, offset)[0]
            offset += TIME.size
        if flags & TYPE:
            start, offset = offset + 1, offset + 1 + data[offset]
            type_ = data[start:offset].decode()
        if flags & SENDERS_SET:
            offset = _read_short(data, offset, flags, SENDERS, others := others or {})
        if offset != end:
            return None
        body = b""
        if length:
            kind, number, size = FRAME.unpack_from(data, end + 1)
            start = end + 1 + FRAME.size
            end = start + size
            if kind != spec.FRAME_BODY or number != channel or size != length:
                return None
            if available <= end:
                raise NotWhole
            if data[end] != spec.FRAME_END:
                return None
            body = data[start:end]
    except (KeyError, UnicodeDecodeError, IndexError, error):
        return None
    delivery = Delivery(
        queue, exchange, routing_key, body, headers, tag, generation, bits & 1 != 0,
        message_id, content_type, content_encoding, timestamp, type_, priority, others,
    )  # fmt: skip
    return delivery, end + 1


def _read_short(
    data: bytes, offset: int, flags: int, named: Mapping[str, int], into: dict[str, str]
) -> int:
    """Adds to `into` those of these short strings that are there; where they end."""
    for name, flag in named.items():
        if flags & flag:
            start, offset = offset + 1, offset + 1 + data[offset]
            into[name] = data[start:offset].decode()
    return offset


def _read_texts(data: bytes, offset: int, end: int) -> dict[str, str] | None:
    headers: dict[str, str] = {}
    for name, start, stop in spans(data, offset, end):
        if data[start - LONG.size - 1] != TEXT[0] or stop > end:
            return None
        headers[name] = data[start:stop].decode()
    return headers


def spans(data: bytes, offset: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each name in a table of texts, where its value starts and where that ends."""
    while offset < end:
        after = offset + 1 + data[offset]
        start = after + 1 + LONG.size
        stop = start + LONG.unpack_from(data, after + 1)[0]
        yield data[offset + 1 : after].decode(), start, stop
        offset = stop
