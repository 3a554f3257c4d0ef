"""The frames of a message in few steps: the same bytes as pika's.

Pure. It knows the properties that our own messages have: texts, a priority, and headers that are
all texts. For everything else the answer is None, and pika's own code does the work.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct, error
from typing import Any

from pika import spec
from pika.spec import BasicProperties

from shared.messages import Outgoing
from shared.messaging.amqp.layout import (
    CONTENT_FIELDS,
    CONTENT_TYPE,
    DELIVERY_MODE,
    FLAGS,
    FRAME,
    HEADERS,
    LONG,
    MESSAGE_ID,
    PRIORITY,
    TEXT,
    TIME,
    TIMESTAMP,
    TYPE,
)

_CONTENT_START = Struct(">BHLHH")  # a content header's frame up to the weight
_END = bytes([spec.FRAME_END])
_PERSISTENT = b"\x02"  # the delivery mode
_encode: Callable[[Any], bytes] = str.encode  # TypeError where it is no text
_MAX_HEADERS = 32  # more are left to pika: the cache stays below some 20 MiB whatever their names


def write_message(channel: int, message: Outgoing, most: int) -> bytes | None:
    """The frames of a publish, mandatory and persistent, with a body of at most `most`
    bytes to a frame; None where a property is unusual."""
    headers = message.headers
    unusual = (message.expiration_ms, message.content_encoding, message.others)
    if unusual != (None, None, None) or len(headers) > _MAX_HEADERS:
        return None
    time, body = message.timestamp, message.body
    size = len(body)
    try:
        values = [*map(_encode, headers.values())]
        message_id = message.message_id.encode()
        frames = _around(
            channel, message.exchange, message.routing_key, message.content_type, message.type,
            message.priority, time is not None, len(message_id), tuple(headers),
            tuple(map(len, values)),
        ).copy()  # fmt: skip
        frames[1::2] = (
            TIME.pack(size), *values, message_id, b"" if time is None else TIME.pack(time),
        )  # fmt: skip
    except (AttributeError, TypeError, ValueError, error):  # pika takes it, or says what is wrong
        return None
    if 0 < size <= most:
        frames += (FRAME.pack(spec.FRAME_BODY, channel, size), body, _END)
    else:
        for position in range(0, size, most):
            piece = body[position : position + most]
            frames += (FRAME.pack(spec.FRAME_BODY, channel, len(piece)), piece, _END)
    return b"".join(frames)


@lru_cache(maxsize=1_024)
def _around(
    channel: int,
    exchange: str,
    routing_key: str,
    content_type: str,
    kind: str | None,
    priority: int | None,
    has_time: bool,
    id_size: int,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
) -> list[bytes]:
    """The method's and the content's frames without what varies, as pieces: in the places between
    belong the body's size, the headers' values, the message's id and its time."""
    flags = CONTENT_TYPE | HEADERS | DELIVERY_MODE
    flags |= (MESSAGE_ID if id_size else 0) | (TIMESTAMP if has_time else 0)
    flags |= (0 if kind is None else TYPE) | (0 if priority is None else PRIORITY)
    keys = [_short(name) + TEXT + LONG.pack(size) for name, size in zip(names, sizes, strict=True)]
    table = sum(map(len, keys)) + sum(sizes)
    before = FLAGS.pack(flags) + _short(content_type) + LONG.pack(table)
    before_id = _PERSISTENT if priority is None else _PERSISTENT + bytes((priority,))
    before_id += bytes((id_size,)) if id_size else b""
    last = b"" if kind is None else _short(kind)
    time = TIME.size if has_time else 0
    content = len(before) + table + len(before_id) + id_size + time + len(last)
    size = CONTENT_FIELDS - FLAGS.size + content
    start = _publish(channel, exchange, routing_key) + _CONTENT_START.pack(
        spec.FRAME_HEADER, channel, size, BasicProperties.INDEX, 0
    )
    prefixes = [*keys, before_id]
    prefixes[0] = before + prefixes[0]
    pieces = [start, *prefixes, b"", last + _END]
    places: list[bytes] = [b""] * (2 * len(pieces) - 1)
    places[::2] = pieces
    return places


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded  # ValueError over 255


def _publish(channel: int, exchange: str, routing_key: str) -> bytes:
    """The first frame: where to; mandatory."""
    arguments = b"\x00\x00" + _short(exchange) + _short(routing_key) + b"\x01"
    size = 4 + len(arguments)
    method = LONG.pack(spec.Basic.Publish.INDEX)
    return FRAME.pack(spec.FRAME_METHOD, channel, size) + method + arguments + _END
