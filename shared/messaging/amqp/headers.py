"""Headers that go on as they came, when a foreign message is tried again or set aside.

pika's codec has no floats (0.97 becomes 0) and not all of the integers, and ends at a time in the
year 10 000. So a header goes through it only where the same bytes come out, and is carried as it is
on the wire where they do not. A copy has headers of ours as well, in the one frame that has to hold
them all: where they are too many, the largest are left out.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct
from typing import Any

from pika import spec
from pika.data import encode_short_string, encode_value

from shared.messages import OTHERS, Delivery, ForeignHeader, short_text

logger = logging.getLogger(__name__)

MAX_BYTES = 100_000  # of the 131 072 of a frame; ours take 10 000 at most
_MAX_LEVELS = 32  # of tables and arrays in one another, in a value that somebody may look at
_SIZE = Struct(">L")
_FLAGS = Struct(">H")
_HEADERS = spec.BasicProperties.FLAG_HEADERS
# https://www.rabbitmq.com/amqp-0-9-1-errata#section_3
_FIXED: dict[int, tuple[Struct, Callable[[Any], object]]] = {
    kind[0]: (Struct(form), make)
    for kind, form, make in (
        (b"t", ">?", bool),
        (b"b", ">b", int),
        (b"B", ">B", int),
        (b"s", ">h", int),
        (b"U", ">h", int),
        (b"u", ">H", int),
        (b"I", ">i", int),
        (b"i", ">I", int),
        (b"l", ">q", int),
        (b"L", ">q", int),
        (b"f", ">f", float),
        (b"d", ">d", float),
        (b"T", ">Q", lambda seconds: datetime.fromtimestamp(seconds, UTC)),
        (b"V", ">", lambda *_: None),
    )
}
_DECIMAL = Struct(">Bi")
_SIZED = frozenset(b"SxAF")


class Properties(spec.BasicProperties):  # type: ignore[misc]  # pika ships no types
    """pika's, with headers that go on as they came."""

    headers: Mapping[str, object] | None

    def encode(self) -> list[bytes]:
        headers, self.headers = self.headers, None
        try:
            flags, *pieces = super().encode()
        finally:
            self.headers = headers
        if headers is None:
            return [flags, *pieces]
        before = 2 * ((self.content_type is not None) + (self.content_encoding is not None))
        flags = _FLAGS.pack(_FLAGS.unpack(flags)[0] | _HEADERS)
        return [flags, *pieces[:before], write_table(headers), *pieces[before:]]

    def decode(self, encoded: bytes, offset: int = 0) -> "Properties":
        flags = _FLAGS.unpack_from(encoded, offset)[0]
        if not flags & _HEADERS:
            super().decode(encoded, offset)
            return self
        first = start = offset + _FLAGS.size
        for before in (self.FLAG_CONTENT_TYPE, self.FLAG_CONTENT_ENCODING):
            start += 1 + encoded[start] if flags & before else 0
        end = start + _SIZE.size + _SIZE.unpack_from(encoded, start)[0]
        others = _FLAGS.pack(flags & ~_HEADERS) + encoded[first:start] + encoded[end:]
        super().decode(others)
        self.headers = read_table(encoded[start + _SIZE.size : end])
        return self


def delivery_of(
    queue: str, method: Any, properties: Any, body: bytes, generation: int = 0
) -> Delivery:
    """What pika hands to the callback of `basic_consume`; its short strings may be bytes."""
    others = {
        name: short_text(value)
        for name in OTHERS
        if (value := getattr(properties, name)) is not None
    }
    return Delivery(
        queue=queue,
        exchange=short_text(method.exchange),
        routing_key=short_text(method.routing_key),
        body=body,
        headers=properties.headers or {},
        tag=method.delivery_tag,
        generation=generation,
        redelivered=method.redelivered,
        message_id=_if_given(properties.message_id),
        content_type=_if_given(properties.content_type),
        content_encoding=_if_given(properties.content_encoding),
        timestamp=properties.timestamp,
        type=_if_given(properties.type),
        priority=properties.priority,
        others=others or None,
    )


def _if_given(value: Any) -> str | None:
    return None if value is None else short_text(value)


def write_table(headers: Mapping[str, object]) -> bytes:
    """The table of `headers`: what was carried as it came, the others as pika writes them."""
    pieces: list[bytes] = []
    for name, value in headers.items():
        encode_short_string(pieces, name)
        pieces.append(value.wire if isinstance(value, ForeignHeader) else _written(value))
    table = b"".join(pieces)
    return _SIZE.pack(len(table)) + table


def read_table(table: bytes) -> dict[str, object]:
    """The headers in a table that can be sent on; where they are too many, all but the largest.

    Raises:
        Exception: it is no table.
    """
    kept: dict[str, object] = {}
    sizes: dict[str, int] = {}
    for key, start, end in _fields(table):
        name, wire = short_text(key), table[start:end]
        sizes[name] = len(name.encode()) + len(wire)
        kept[name] = _header(wire)
    excess = sum(sizes.values()) - MAX_BYTES
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True) if excess > 0 else ():
        if excess > 0:
            logger.warning("message headers are too large; dropping %r", name[:60])
            excess -= sizes[name]
            del kept[name]
    return kept


def _header(wire: bytes) -> object:
    """A plain value where pika writes it as it came."""
    try:
        value = _value(wire, 0, _MAX_LEVELS)
    except Exception:  # a time in the year 10 000, a table in a hundred tables
        return ForeignHeader(wire, wire)
    try:
        same = _written(value) == wire
    except Exception:  # what pika cannot write at all
        same = False
    return value if same else ForeignHeader(value, wire)


def _written(value: object) -> bytes:
    pieces: list[bytes] = []
    encode_value(pieces, value)
    return b"".join(pieces)


def _fields(table: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each name, where its value starts and where that ends."""
    offset = 0
    while offset < len(table):
        start = offset + 1 + table[offset]
        end = _end(table, start)
        yield table[offset + 1 : start], start, end
        offset = end


def _end(data: bytes, start: int) -> int:
    """Where the value that starts with its type ends."""
    kind, offset = data[start], start + 1
    if kind in _SIZED:
        end: int = offset + _SIZE.size + _SIZE.unpack_from(data, offset)[0]
    else:
        end = offset + (_DECIMAL.size if kind == ord("D") else _FIXED[kind][0].size)
    if end > len(data):
        raise ValueError("a header is longer than its table")
    return end


def _value(data: bytes, start: int, levels: int) -> object:
    """What the value that starts with its type at `start` is in Python."""
    kind, offset = data[start], start + 1
    if kind == ord("D"):
        decimals, digits = _DECIMAL.unpack_from(data, offset)
        return Decimal(digits).scaleb(-decimals)
    if kind not in _SIZED:
        form, make = _FIXED[kind]
        return make(*form.unpack_from(data, offset))
    content = data[offset + _SIZE.size : _end(data, start)]
    if kind == ord("x"):
        return content
    if kind == ord("S"):
        try:
            return content.decode()
        except UnicodeDecodeError:
            return content
    if not levels:
        raise ValueError(f"more than {_MAX_LEVELS} levels deep")
    if kind == ord("F"):
        return {
            short_text(key): _value(content, first, levels - 1)
            for key, first, _ in _fields(content)
        }
    values, position = [], 0
    while position < len(content):
        values.append(_value(content, position, levels - 1))
        position = _end(content, position)
    return values
