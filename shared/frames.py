"""How does a message become AMQP frames, and how does a delivery come out of them, in few steps?

Pure. It knows the properties that our own messages have: texts, and headers that are all texts. For
everything else the answer is None, and pika's own code does the work. The bytes are the same.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from itertools import count
from struct import Struct, error
from typing import Any, NamedTuple

from pika import spec
from pika.spec import BasicProperties

from shared.messages import Delivery, Outgoing

_LONG = Struct(">L")
_TIME = Struct(">Q")
_FRAME = Struct(">BHL")  # type, channel, size of the payload
_SIZE_AT = 3  # in a frame
_TAG = Struct(">QB")
_CONTENT = Struct(">BHLHHQH")  # a content header's frame: then class, weight, body's size, flags
_CONTENT_START = Struct(">BHLHH")  # up to the weight
_FLAGS = Struct(">H")
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
_encode: Callable[[Any], bytes] = str.encode  # TypeError where it is no text
_MOST_HEADERS = 32  # more are left to pika: the cache stays below some 20 MiB whatever their names
# Shapes are kept for contents of at most so many bytes, so many of them, so many of one size.
_SHAPE_BYTES, _SHAPES, _ALIKE = 2_048, 256, 4
_LEARN_ONE_OF = 16  # of what is new: learning takes as long as three readings
# The same in all events of one type: they need not be cut out of each.
_STEADY = frozenset(
    f"cloudEvents_{name}" for name in ("specversion", "type", "source", "schemaversion")
)


class NotWhole(Exception):
    """A delivery of which more has yet to come."""


class Shape(NamedTuple):
    """What deliveries have in common whose fields have the same sizes in the same order."""

    struct: Struct  # what never varies and what may, in turns, up to where the body starts
    constants: tuple[bytes, ...]
    varying: tuple[str, ...]  # the headers whose values are cut out
    first: Delivery

    @classmethod
    def of(cls, data: bytes, start: int, end: int, read: Delivery) -> "Shape":
        """Of a delivery that was `read` from its arguments at `start`; its method's frame ends at
        `end`."""
        tag = start + 1 + data[start]
        exchange = tag + _TAG.size
        routing_key = exchange + 1 + data[exchange] + 1
        content_type = end + 1 + _CONTENT.size
        length = content_type - _FLAGS.size - _TIME.size  # of the body
        table = content_type + 1 + data[content_type] + _LONG.size
        spans = list(_spans(data, table, table + _LONG.unpack_from(data, table - _LONG.size)[0]))
        delivery_mode = spans[-1][2] if spans else table
        message_id = delivery_mode + 1 + 1
        time = message_id + data[message_id - 1]
        kind = time + _TIME.size
        size = kind + 1 + data[kind] + 1 + _SIZE_AT  # of the body's frame
        varying = [(name, first, last) for name, first, last in spans if name not in _STEADY]
        cuts = [
            (tag, "Q"),
            (tag + _TIME.size, "B"),
            (routing_key, f"{end - routing_key}s"),
            (length, "Q"),
            *((first, f"{last - first}s") for _, first, last in varying),
            (message_id, f"{time - message_id}s"),
            (time, "Q"),
            (size, "L"),
        ]
        constants, form, position = [], ">", start - _LONG.size - _FRAME.size
        for cut, code in cuts:
            constants.append(data[position:cut])
            form += f"{cut - position}s{code}"
            position = cut + Struct(">" + code).size
        names = tuple(name for name, _, _ in varying)
        return cls(Struct(form), tuple(constants), names, replace(read, body=b""))


class Reader:
    """Reads what is delivered on one channel. What looks like one of the last deliveries, but for
    the values in it, is read in one step; all of its other bytes are compared."""

    def __init__(
        self,
        channel: int,
        queues: Mapping[bytes, str],
        generation: int,
        *,
        learn_one_of: int = _LEARN_ONE_OF,
    ) -> None:
        """`queues` are those that the channel consumes, by their consumer tags; it may grow."""
        self.channel = channel
        self._queues = queues
        self._generation = generation
        self._shapes: dict[tuple[int, int], list[Shape]] = {}
        self._new = count()
        self._learn_one_of = learn_one_of

    def read_known(self, data: bytes, position: int, into: list[Delivery]) -> int:
        """Adds to `into` the deliveries from `position` on as far as their shapes are known and
        they are whole; where the last one's frames end."""
        shapes, generation = self._shapes, self._generation
        try:
            while True:
                method = _LONG.unpack_from(data, position + _SIZE_AT)[0]
                header = position + _FRAME.size + method + 1
                sizes = method, _LONG.unpack_from(data, header + _SIZE_AT)[0]
                for shape in shapes.get(sizes, ()):
                    struct, constants, varying, first = shape
                    fields = struct.unpack_from(data, position)
                    if fields[::2] == constants:
                        break
                else:
                    return position
                tag, bits, routing_key, length, *values, message_id, timestamp, size = fields[1::2]
                start = position + struct.size
                end = start + size
                if length != size or not size or data[end] != spec.FRAME_END:
                    return position
                texts = zip(varying, map(bytes.decode, values), strict=True)
                delivery = Delivery(
                    first.queue, first.exchange, routing_key.decode(), data[start:end],
                    {**first.headers, **dict(texts)}, tag, generation, bits & 1 != 0,
                    message_id.decode(), first.content_type, None, timestamp,
                )  # fmt: skip
                into.append(delivery)
                position = end + 1
        except (IndexError, UnicodeDecodeError, error):  # not whole, or not for us
            return position

    def read(self, data: bytes, start: int, end: int) -> tuple[Delivery, int] | None:
        """As `read_delivery`; of the same shape, the next are known. `end` is where the method's
        frame ends."""
        read = read_delivery(data, start, self.channel, self._queues, self._generation)
        if read is None or not read[0].body:
            return read
        _, _, size, _, _, _, flags = _CONTENT.unpack_from(data, end + 1)
        usual = flags == _KNOWN and size <= _SHAPE_BYTES
        if usual and next(self._new) % self._learn_one_of == 0:
            sizes = end - start + _LONG.size, size
            if len(self._shapes) >= _SHAPES and sizes not in self._shapes:
                self._shapes.clear()
            alike = self._shapes.get(sizes, [])
            self._shapes[sizes] = [Shape.of(data, start, end, read[0]), *alike][:_ALIKE]
        return read


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
    for name, start, stop in _spans(data, offset, end):
        if data[start - _LONG.size - 1] != _TEXT[0] or stop > end:
            return None
        headers[name] = data[start:stop].decode()
    return headers


def _spans(data: bytes, offset: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each name in a table of texts, where its value starts and where that ends."""
    while offset < end:
        after = offset + 1 + data[offset]
        start = after + 1 + _LONG.size
        stop = start + _LONG.unpack_from(data, after + 1)[0]
        yield data[offset + 1 : after].decode(), start, stop
        offset = stop


def write_message(channel: int, message: Outgoing, most: int) -> bytes | None:
    """The frames of a publish, mandatory and persistent, with a body of at most `most`
    bytes to a frame; None where a property is unusual."""
    headers = message.headers
    if message.expiration_ms is not None or len(headers) > _MOST_HEADERS:
        return None
    time, body = message.timestamp, message.body
    size = len(body)
    try:
        values = [*map(_encode, headers.values())]
        message_id = message.message_id.encode()
        frames = _around(
            channel, message.exchange, message.routing_key, message.content_type, message.type,
            time is not None, len(message_id), tuple(headers), tuple(map(len, values)),
        ).copy()  # fmt: skip
        frames[1::2] = (
            _TIME.pack(size), *values, message_id, b"" if time is None else _TIME.pack(time),
        )  # fmt: skip
    except (AttributeError, TypeError, ValueError, error):  # pika takes it, or says what is wrong
        return None
    if 0 < size <= most:
        frames += (_FRAME.pack(spec.FRAME_BODY, channel, size), body, _END)
    else:
        for position in range(0, size, most):
            piece = body[position : position + most]
            frames += (_FRAME.pack(spec.FRAME_BODY, channel, len(piece)), piece, _END)
    return b"".join(frames)


@lru_cache(maxsize=1_024)
def _around(
    channel: int,
    exchange: str,
    routing_key: str,
    content_type: str,
    kind: str | None,
    has_time: bool,
    id_size: int,
    names: tuple[str, ...],
    sizes: tuple[int, ...],
) -> list[bytes]:
    """The method's and the content's frames without what varies, as pieces: in the places between
    belong the body's size, the headers' values, the message's id and its time."""
    flags = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE
    flags |= (_MESSAGE_ID if id_size else 0) | (_TIMESTAMP if has_time else 0)
    flags |= 0 if kind is None else _TYPE
    keys = [
        _short(name) + _TEXT + _LONG.pack(size) for name, size in zip(names, sizes, strict=True)
    ]
    table = sum(map(len, keys)) + sum(sizes)
    before = _FLAGS.pack(flags) + _short(content_type) + _LONG.pack(table)
    before_id = _PERSISTENT + (bytes((id_size,)) if id_size else b"")
    last = b"" if kind is None else _short(kind)
    time = _TIME.size if has_time else 0
    content = len(before) + table + len(before_id) + id_size + time + len(last)
    size = _CONTENT_FIELDS - _FLAGS.size + content
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
    method = _LONG.pack(spec.Basic.Publish.INDEX)
    return _FRAME.pack(spec.FRAME_METHOD, channel, size) + method + arguments + _END
