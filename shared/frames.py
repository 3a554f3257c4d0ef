"""How does a message become AMQP frames, and how do its properties come back, in few steps?

Pure. It knows the properties that our own messages have: texts, and headers that are all texts. For
everything else the answer is None, and pika's own code does the work. The bytes are the same.
"""

from functools import lru_cache
from operator import itemgetter
from struct import Struct, error
from typing import Any, NamedTuple

from pika import spec
from pika.spec import BasicProperties

_LONG = Struct(">L")
_TIME = Struct(">Q")
_FRAME = Struct(">BHL")  # type, channel, size of the payload
_TAG = Struct(">QB")
_HEADER = Struct(">BHLHHQ")  # type, channel, size, class, weight, size of the body
_CONTENT = Struct(">BHLHHQH")  # a content header's frame: then class, weight, body's size, flags
_END = bytes([spec.FRAME_END])
_CONTENT_TYPE = BasicProperties.FLAG_CONTENT_TYPE
_HEADERS = BasicProperties.FLAG_HEADERS
_DELIVERY_MODE = BasicProperties.FLAG_DELIVERY_MODE
_MESSAGE_ID = BasicProperties.FLAG_MESSAGE_ID
_TIMESTAMP = BasicProperties.FLAG_TIMESTAMP
_TYPE = BasicProperties.FLAG_TYPE
_KNOWN = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _TYPE
_unknown = itemgetter(
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "user_id",
    "app_id",
    "cluster_id",
)
_TEXT = b"S"  # a long string, in a table
_NONE: dict[str, Any] = dict(BasicProperties().__dict__)
_NOTHING_UNKNOWN = _unknown(_NONE)


class Delivered(NamedTuple):
    """A Basic.Deliver with its content, and where the last of its frames ends."""

    method: spec.Basic.Deliver
    properties: BasicProperties
    body: bytes
    end: int


def read_delivery(data: bytes, offset: int, channel: int) -> Delivered | None:
    """What starts with the arguments of a Basic.Deliver at `offset`; None where its header or its
    body is not there whole, the body takes several frames, or anything is unusual."""
    method = spec.Basic.Deliver()
    try:
        start, offset = offset + 1, offset + 1 + data[offset]
        method.consumer_tag = data[start:offset].decode()
        method.delivery_tag, bits = _TAG.unpack_from(data, offset)
        method.redelivered = bits & 1 != 0
        offset += _TAG.size
        start, offset = offset + 1, offset + 1 + data[offset]
        method.exchange = data[start:offset].decode()
        start, offset = offset + 1, offset + 1 + data[offset]
        method.routing_key = data[start:offset].decode()
        start = offset + 1
        kind, number, size, _, _, length = _HEADER.unpack_from(data, start)
        end = start + _FRAME.size + size
        if kind != spec.FRAME_HEADER or number != channel or data[end] != spec.FRAME_END:
            return None
        properties = read_properties(data, start + _HEADER.size, end)
        if properties is None:
            return None
        if not length:
            return Delivered(method, properties, b"", end + 1)
        kind, number, size = _FRAME.unpack_from(data, end + 1)
        start = end + 1 + _FRAME.size
        end = start + size
        if kind != spec.FRAME_BODY or number != channel or size != length:
            return None
        if data[end] != spec.FRAME_END:
            return None
    except (UnicodeDecodeError, IndexError, error):
        return None
    return Delivered(method, properties, data[start:end], end + 1)


def read_properties(data: bytes, offset: int, end: int) -> BasicProperties | None:
    """The properties between the two; None where they hold anything unusual."""
    values = dict(_NONE)
    try:
        flags = data[offset] << 8 | data[offset + 1]
        if flags & ~_KNOWN:
            return None
        offset += 2
        if flags & _CONTENT_TYPE:
            start, offset = offset + 1, offset + 1 + data[offset]
            values["content_type"] = data[start:offset].decode()
        if flags & _HEADERS:
            start = offset + _LONG.size
            offset = start + _LONG.unpack_from(data, offset)[0]
            headers = _read_texts(data, start, offset)
            if headers is None:
                return None
            values["headers"] = headers
        if flags & _DELIVERY_MODE:
            values["delivery_mode"] = data[offset]
            offset += 1
        if flags & _MESSAGE_ID:
            start, offset = offset + 1, offset + 1 + data[offset]
            values["message_id"] = data[start:offset].decode()
        if flags & _TIMESTAMP:
            values["timestamp"] = _TIME.unpack_from(data, offset)[0]
            offset += _TIME.size
        if flags & _TYPE:
            start, offset = offset + 1, offset + 1 + data[offset]
            values["type"] = data[start:offset].decode()
    except (UnicodeDecodeError, IndexError, error):
        return None
    if offset != end:
        return None
    properties = BasicProperties.__new__(BasicProperties)
    properties.__dict__ = values
    return properties


def _read_texts(data: bytes, offset: int, end: int) -> dict[str, str] | None:
    headers: dict[str, str] = {}
    while offset < end:
        after = offset + 1 + data[offset]
        if data[after] != _TEXT[0]:
            return None
        start = after + 1 + _LONG.size
        stop = start + _LONG.unpack_from(data, after + 1)[0]
        headers[data[offset + 1 : after].decode()] = data[start:stop].decode()
        offset = stop
    return headers if offset == end else None


def write_message(
    channel: int, method: spec.Basic.Publish, properties: BasicProperties, body: bytes, most: int
) -> bytes | None:
    """The frames of a publish, with a body of at most `most` bytes to a frame; None where one of
    the properties is unusual."""
    values = properties.__dict__
    if method.ticket or _unknown(values) != _NOTHING_UNKNOWN:
        return None
    flags, parts = 0, []
    try:
        if (content_type := values["content_type"]) is not None:
            flags |= _CONTENT_TYPE
            parts.append(_known(content_type))
        if (headers := values["headers"]) is not None:
            flags |= _HEADERS
            table = _write_texts(headers)
            parts += (_LONG.pack(len(table)), table)
        if (delivery_mode := values["delivery_mode"]) is not None:
            flags |= _DELIVERY_MODE
            parts.append(bytes((delivery_mode,)))
        if (message_id := values["message_id"]) is not None:
            flags |= _MESSAGE_ID
            parts.append(_short(message_id))
        if (timestamp := values["timestamp"]) is not None:
            flags |= _TIMESTAMP
            parts.append(_TIME.pack(timestamp))
        if (kind := values["type"]) is not None:
            flags |= _TYPE
            parts.append(_known(kind))
        start = _publish(
            channel, method.exchange, method.routing_key, method.mandatory, method.immediate
        )
    except (AttributeError, TypeError, ValueError, error):  # pika takes it, or says what is wrong
        return None
    content = b"".join(parts)
    header = _CONTENT.pack(
        spec.FRAME_HEADER, channel, 14 + len(content), BasicProperties.INDEX, 0, len(body), flags
    )
    frames = [start, header, content, _END]
    for position in range(0, len(body), most):
        piece = body[position : position + most]
        frames += (_FRAME.pack(spec.FRAME_BODY, channel, len(piece)), piece, _END)
    return b"".join(frames)


def _write_texts(headers: dict[str, str]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        if value.__class__ is not str:
            raise TypeError("not a text")
        text = value.encode()
        parts += (_name(name), _LONG.pack(len(text)), text)
    return b"".join(parts)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded  # ValueError over 255


@lru_cache(maxsize=256)
def _known(text: str) -> bytes:
    """Of a text that comes again and again."""
    return _short(text)


@lru_cache(maxsize=1_024)
def _name(name: str) -> bytes:
    return _short(name) + _TEXT


@lru_cache(maxsize=256)
def _publish(
    channel: int, exchange: str, routing_key: str, mandatory: bool, immediate: bool
) -> bytes:
    """The first frame: where to."""
    arguments = (
        b"\x00\x00"
        + _short(exchange)
        + _short(routing_key)
        + bytes((bool(mandatory) | bool(immediate) << 1,))
    )
    size = 4 + len(arguments)
    method = _LONG.pack(spec.Basic.Publish.INDEX)
    return _FRAME.pack(spec.FRAME_METHOD, channel, size) + method + arguments + _END
