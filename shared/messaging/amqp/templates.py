"""Templates of deliveries: one that looks like the last ones is read in a single step.

Our own messages differ in their values and hardly in their sizes. What looks like one of the last
deliveries, but for the values in it, is cut out by one struct, and all of its other bytes are
compared.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from struct import Struct, error
from typing import NamedTuple

from pika import spec

from shared.messages import Delivery
from shared.messaging.amqp.layout import CONTENT, FLAGS, FRAME, LONG, OURS, SIZE_AT, TAG, TIME
from shared.messaging.amqp.read import read_delivery, spans

# Templates are kept for contents of at most so many bytes, so many of them, so many of one size.
_MAX_BYTES, _MAX_TEMPLATES, _MAX_OF_ONE_SIZE = 2_048, 256, 4
_LEARN_ONE_OF = 16  # of what is new: learning takes as long as three readings
# The same in all events of one type: they need not be cut out of each.
_STEADY = frozenset(
    f"cloudEvents_{name}" for name in ("specversion", "type", "source", "schemaversion")
)


class Template(NamedTuple):
    """What deliveries have in common whose fields have the same sizes in the same order."""

    struct: Struct  # what never varies and what may, in turns, up to where the body starts
    constants: tuple[bytes, ...]
    varying: tuple[str, ...]  # the headers whose values are cut out
    first: Delivery

    @classmethod
    def of(cls, data: bytes, start: int, end: int, read: Delivery) -> "Template":
        """Of a delivery that was `read` from its arguments at `start`; its method's frame ends at
        `end`."""
        tag = start + 1 + data[start]
        exchange = tag + TAG.size
        routing_key = exchange + 1 + data[exchange] + 1
        content_type = end + 1 + CONTENT.size
        length = content_type - FLAGS.size - TIME.size  # of the body
        table = content_type + 1 + data[content_type] + LONG.size
        texts = list(spans(data, table, table + LONG.unpack_from(data, table - LONG.size)[0]))
        delivery_mode = texts[-1][2] if texts else table
        message_id = delivery_mode + 1 + 1
        time = message_id + data[message_id - 1]
        kind = time + TIME.size
        size = kind + 1 + data[kind] + 1 + SIZE_AT  # of the body's frame
        varying = [(name, first, last) for name, first, last in texts if name not in _STEADY]
        cuts = [
            (tag, "Q"),
            (tag + TIME.size, "B"),
            (routing_key, f"{end - routing_key}s"),
            (length, "Q"),
            *((first, f"{last - first}s") for _, first, last in varying),
            (message_id, f"{time - message_id}s"),
            (time, "Q"),
            (size, "L"),
        ]
        constants, form, position = [], ">", start - LONG.size - FRAME.size
        for cut, code in cuts:
            constants.append(data[position:cut])
            form += f"{cut - position}s{code}"
            position = cut + Struct(">" + code).size
        names = tuple(name for name, _, _ in varying)
        return cls(Struct(form), tuple(constants), names, replace(read, body=b""))


class Reader:
    """Reads what is delivered on one channel."""

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
        self._templates: dict[tuple[int, int], list[Template]] = {}
        self._new = count()
        self._learn_one_of = learn_one_of

    def read_known(self, data: bytes, position: int, into: list[Delivery]) -> int:
        """Adds to `into` the deliveries from `position` on as far as their templates are known and
        they are whole; where the last one's frames end."""
        templates, generation = self._templates, self._generation
        try:
            while True:
                method = LONG.unpack_from(data, position + SIZE_AT)[0]
                header = position + FRAME.size + method + 1
                sizes = method, LONG.unpack_from(data, header + SIZE_AT)[0]
                for template in templates.get(sizes, ()):
                    struct, constants, varying, first = template
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
                    message_id.decode(), first.content_type, None, timestamp, first.type,
                )  # fmt: skip
                into.append(delivery)
                position = end + 1
        except (IndexError, UnicodeDecodeError, error):  # not whole, or not for us
            return position

    def read(self, data: bytes, start: int, end: int) -> tuple[Delivery, int] | None:
        """As `read_delivery`; the next ones like it are known. `end` is where the method's
        frame ends."""
        read = read_delivery(data, start, self.channel, self._queues, self._generation)
        if read is None or not read[0].body:
            return read
        _, _, size, _, _, _, flags = CONTENT.unpack_from(data, end + 1)
        usual = flags == OURS and size <= _MAX_BYTES
        if usual and next(self._new) % self._learn_one_of == 0:
            sizes = end - start + LONG.size, size
            if len(self._templates) >= _MAX_TEMPLATES and sizes not in self._templates:
                self._templates.clear()
            alike = self._templates.get(sizes, [])
            self._templates[sizes] = [Template.of(data, start, end, read[0]), *alike][
                :_MAX_OF_ONE_SIZE
            ]
        return read
