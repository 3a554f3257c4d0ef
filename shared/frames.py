"""How does a message become AMQP frames, and how does a delivery come out of them, in few steps?

Pure. It knows the properties that our own messages have: texts, and headers that are all texts. For
everything else the answer is None, and pika's own code does the work. The bytes are the same.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct, error

from pika import spec
from pika.spec import BasicProperties

from shared.messages import Delivery, Headers, Outgoing

_LONG = Struct(">L")
_TIME = Struct(">Q")
_FRAME = Struct(">BHL")  # type, channel, size of the payload
_TAG = Struct(">QB")
_CONTENT = Struct(">BHLHHQH")  # a content header's frame: then class, weight, body's size, flags
_SIZES = [_LONG.pack(size) for size in range(256)]
_END = bytes([spec.FRAME_END])
_CONTENT_TYPE = BasicProperties.FLAG_CONTENT_TYPE
_HEADERS = BasicProperties.FLAG_HEADERS
_DELIVERY_MODE = BasicProperties.FLAG_DELIVERY_MODE
_MESSAGE_ID = BasicProperties.FLAG_MESSAGE_ID
_TIMESTAMP = BasicProperties.FLAG_TIMESTAMP
_TYPE = BasicProperties.FLAG_TYPE
_KNOWN = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _TYPE
_CONTENT_FIELDS = 14  # bytes of a content header before its properties
_PERSISTENT = b"\x02"  # the delivery mode
_TEXT = b"S"  # a long string, in a table


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
    content_type = message_id = timestamp = None
    headers: dict[str, str] = {}
    try:
        start, offset = offset + 1, offset + 1 + data[offset]
        queue = queues[data[start:offset]]
        tag, bits = _TAG.unpack_from(data, offset)
        offset += _TAG.size
        start, offset = offset + 1, offset + 1 + data[offset]
        exchange = data[start:offset].decode()
        start, offset = offset + 1, offset + 1 + data[offset]
        routing_key = data[start:offset].decode()
        available = len(data)
        if available <= offset + _CONTENT.size:
            raise NotWhole
        kind, number, size, _, _, length, flags = _CONTENT.unpack_from(data, offset + 1)
        offset += 1 + _CONTENT.size
        end = offset + size - _CONTENT_FIELDS
        if kind != spec.FRAME_HEADER or number != channel or flags & ~_KNOWN:
            return None
        if available <= end + (_FRAME.size if length else 0):
            raise NotWhole
        if data[end] != spec.FRAME_END:
            return None
        if flags & _CONTENT_TYPE:
            start, offset = offset + 1, offset + 1 + data[offset]
            content_type = data[start:offset].decode()
        if flags & _HEADERS:
            start = offset + _LONG.size
            offset = start + _LONG.unpack_from(data, offset)[0]
            texts = _read_texts(data, start, offset)
            if texts is None:
                return None
            headers = texts
        if flags & _DELIVERY_MODE:
            offset += 1
        if flags & _MESSAGE_ID:
            start, offset = offset + 1, offset + 1 + data[offset]
            message_id = data[start:offset].decode()
        if flags & _TIMESTAMP:
            timestamp = _TIME.unpack_from(data, offset)[0]
            offset += _TIME.size
        if flags & _TYPE:
            offset += 1 + data[offset]
        if offset != end:
            return None
        body = b""
        if length:
            kind, number, size = _FRAME.unpack_from(data, end + 1)
            start = end + 1 + _FRAME.size
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
        message_id, content_type, None, timestamp,
    )  # fmt: skip
    return delivery, end + 1


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


def write_message(channel: int, message: Outgoing, most: int) -> bytes | None:
    """The frames of a publish, mandatory and persistent, with a body of at most `most`
    bytes to a frame; None where a property is unusual."""
    if message.expiration_ms is not None:
        return None
    flags = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE
    try:
        table = _write_texts(message.headers)
        parts = [_known(message.content_type), _LONG.pack(len(table)), table, _PERSISTENT]
        if message.message_id:
            flags |= _MESSAGE_ID
            parts.append(_short(message.message_id))
        if message.timestamp is not None:
            flags |= _TIMESTAMP
            parts.append(_TIME.pack(message.timestamp))
        if message.type is not None:
            flags |= _TYPE
            parts.append(_known(message.type))
        start = _publish(channel, message.exchange, message.routing_key)
    except (AttributeError, TypeError, ValueError, error):  # pika takes it, or says what is wrong
        return None
    body, content = message.body, b"".join(parts)
    size = _CONTENT_FIELDS + len(content)
    header = _CONTENT.pack(
        spec.FRAME_HEADER, channel, size, BasicProperties.INDEX, 0, len(body), flags
    )
    frames = [start, header, content, _END]
    for position in range(0, len(body), most):
        piece = body[position : position + most]
        frames += (_FRAME.pack(spec.FRAME_BODY, channel, len(piece)), piece, _END)
    return b"".join(frames)


def _write_texts(headers: Headers) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        if not isinstance(value, str):
            raise TypeError("not a text")
        text = value.encode()
        size = len(text)
        parts += (_name(name), _SIZES[size] if size < 256 else _LONG.pack(size), text)
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
def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """The first frame: where to; mandatory."""
    arguments = b"\x00\x00" + _short(exchange) + _short(routing_key) + b"\x01"
    size = 4 + len(arguments)
    method = _LONG.pack(spec.Basic.Publish.INDEX)
    return _FRAME.pack(spec.FRAME_METHOD, channel, size) + method + arguments + _END
