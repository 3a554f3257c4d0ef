"""A pika connection with few system calls and few objects.

pika 1.4 sends the method, the header and the body of each message with a `send` of their own, reads
4 KiB at a time, copies the rest of its buffer after each frame and makes six objects of a message.
This subclass writes once a turn of the I/O loop, reads 64 KiB, walks over the buffer, and turns our
own messages into frames and back in one step (write.py, templates.py). It overrides private
methods: it is used only with the version that it was tested with (`connection_class`), else pika's
own does the work, and so it does here for every message that is unusual.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, NamedTuple

import pika
from pika import exceptions, frame, spec
from pika.channel import Channel

from shared.messages import Delivery, Outgoing
from shared.messaging.amqp.headers import Properties
from shared.messaging.amqp.read import NotWhole
from shared.messaging.amqp.templates import Reader
from shared.messaging.amqp.write import write_message

logger = logging.getLogger(__name__)

TESTED = "1.4."
_OVERRIDDEN = (
    "_init_connection_state",
    "_on_data_available",
    "_output_marshaled_frames",
    "_proto_connection_made",
)
_READ_BYTES = 65_536
_WRITE_BYTES = 262_144  # a partly sent chunk is copied by the transport, so it must not be huge
_FRAME = Struct(">BHL")  # type, channel, size of the payload
_METHOD = Struct(">L")
_BODY_SIZE = Struct(">Q")
_DELIVER = _METHOD.pack(spec.Basic.Deliver.INDEX)


class DeliverySink(NamedTuple):
    """Who takes what is delivered on a channel, as it is read and without pika's objects. What is
    unusual still goes to the callback of `basic_consume`."""

    reader: Reader
    take: Callable[[Sequence[Delivery]], None]


class BatchingConnection(pika.SelectConnection):  # type: ignore[misc]  # pika ships no types
    """A `SelectConnection` with the same behaviour and fewer system calls."""

    _frame_buffer: bytes
    _outgoing: list[bytes]
    _outgoing_bytes: int
    _flush_scheduled: bool
    sink: DeliverySink

    def _init_connection_state(self) -> None:
        super()._init_connection_state()
        self._outgoing = []
        self._outgoing_bytes = 0
        self._flush_scheduled = False
        self.sink = DeliverySink(Reader(0, {}, 0), lambda _deliveries: None)

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = _READ_BYTES
        transport._MAX_CONSUME_BYTES = 4 * _READ_BYTES  # then others have their turn
        super()._proto_connection_made(transport)

    def publish(
        self, channel: Channel, messages: Iterable[Outgoing], by_pika: Callable[[Outgoing], None]
    ) -> None:
        """`basic_publish` for each, mandatory and persistent; `by_pika` for what only pika can
        write."""
        number, most = channel.channel_number, self._body_max_length
        written: list[bytes] = []
        size = 0
        for message in messages:
            frames = write_message(number, message, most)
            if frames is not None:
                written.append(frames)
                size += len(frames)
            if written and (frames is None or size >= _WRITE_BYTES):
                self._output_marshaled_frames(written)
                written, size = [], 0
            if frames is None:
                by_pika(message)
        if written:
            self._output_marshaled_frames(written)

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        size = sum(map(len, marshaled_frames))
        self.bytes_sent += size
        self.frames_sent += len(marshaled_frames)
        self._outgoing += marshaled_frames
        self._outgoing_bytes += size
        if self._outgoing_bytes >= _WRITE_BYTES:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self.ioloop.call_later(0, self._on_turn)

    def _on_turn(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        outgoing, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if outgoing and self._transport is not None:
            self._transport.write(b"".join(outgoing))

    def _on_data_available(self, data_in: bytes) -> None:
        data = self._frame_buffer + data_in if self._frame_buffer else data_in
        if data.startswith(b"AMQP"):  # the broker speaks another version: pika says so
            super()._on_data_available(data_in)
            return
        arrived: list[Delivery] = []
        reader, take = self.sink
        position, available = 0, len(data)
        try:
            while True:
                known = len(arrived)
                position = reader.read_known(data, position, arrived)
                self.frames_received += 3 * (len(arrived) - known)
                if available - position < _FRAME.size:
                    break
                kind, channel, size = _FRAME.unpack_from(data, position)
                start = position + _FRAME.size
                end = start + size
                if end >= available:
                    break
                if data[end] != spec.FRAME_END:
                    raise exceptions.InvalidFrameError("Invalid FRAME_END marker")
                if channel == reader.channel and data.startswith(_DELIVER, start):
                    read = reader.read(data, start + _METHOD.size, end)
                    if read is not None:
                        delivery, position = read
                        self.frames_received += 3 if delivery.body else 2
                        arrived.append(delivery)
                        continue
                if arrived:  # before whatever else was sent after them
                    take(arrived)
                    arrived = []
                position = end + 1
                self._take_frame(kind, channel, data, start, end)
        except NotWhole:
            pass  # the rest of it comes with the next read
        finally:
            self._frame_buffer = data[position:]
            self.bytes_received += position
        if arrived:
            take(arrived)

    def _take_frame(self, kind: int, channel: int, data: bytes, start: int, end: int) -> None:
        """Contents go straight to their channel; for the rest pika looks for callbacks first."""
        content: frame.Frame
        if kind == spec.FRAME_METHOD:
            number = _METHOD.unpack_from(data, start)[0]
            method = spec.methods[number]()
            method.decode(data, start + _METHOD.size)
            content = frame.Method(channel, method)
            if number != spec.Basic.Deliver.INDEX:
                self._process_frame(content)
                return
        elif kind == spec.FRAME_HEADER:
            properties = _properties(data, start + 12)
            content = frame.Header(channel, _BODY_SIZE.unpack_from(data, start + 4)[0], properties)
        elif kind == spec.FRAME_BODY:
            content = frame.Body(channel, data[start:end])
        elif kind == spec.FRAME_HEARTBEAT:
            self._process_frame(frame.Heartbeat())
            return
        else:
            raise exceptions.InvalidFrameError(f"Unknown frame type: {kind}")
        self.frames_received += 1
        self._deliver_frame_to_channel(content)


def _properties(data: bytes, offset: int) -> Properties:
    """Those of a content. What cannot be read (headers that are no table) counts as none: raised
    here, it would end the connection, and the message would come again and end the next one."""
    try:
        return Properties().decode(data, offset)
    except Exception as error:
        logger.warning("cannot decode the properties of a message: %s", error)
        return Properties()


def close_socket(connection: pika.SelectConnection) -> None:
    """Closes the socket of a connection whose loop an error of our own has ended: nobody else
    would, and the broker would wait for a heartbeat before it gives away what we hold."""
    transport = connection._transport
    if transport is not None and transport._sock is not None:
        transport._sock.close()


def connection_class() -> type[pika.SelectConnection]:
    """`BatchingConnection` where pika is as it was when that was tested, else pika's own class."""
    if pika.__version__.startswith(TESTED) and all(
        hasattr(pika.SelectConnection, name) for name in _OVERRIDDEN
    ):
        return BatchingConnection
    stock: type[pika.SelectConnection] = pika.SelectConnection
    logger.warning(
        "the fast connection is not tested with pika %s (only with %sx): using pika's own",
        pika.__version__,
        TESTED,
    )
    return stock
