"""A session with RabbitMQ: one connection with one channel, for one purpose.

Served by the thread that runs it until somebody ends it or it is lost. For the command line and
for those who follow a stream; workers have `shared.messaging.connection`.
"""

import threading
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel

from shared.errors import Overloaded
from shared.messaging.address import cause_of, connection_parameters
from shared.messaging.amqp.fast_connection import connection_class
from shared.messaging.lookups import find_stream
from shared.messaging.steps import carry_out
from shared.topology import Queue

GOODBYE_SECONDS = 2.0


class Session:
    """One channel from its opening to its end; `on_channel` says what is done on it."""

    def __init__(self, name: str, on_channel: Callable[[Channel], None]) -> None:
        """`name` is what operators see."""
        self._name = name
        self._on_channel = on_channel
        self._channel: Channel | None = None
        self._problem: str | None = "connection closed"
        self._raised: BaseException | None = None
        self._lock = threading.Lock()
        self._ioloop: IOLoop | None = None
        self._stopped = False

    def run(self, amqp_url: str) -> None:
        """Serves the channel until `end`, `fail` or `stop`.

        Raises:
            Overloaded: there is no connection, or it was lost; the text says why.
            BaseException: what `fail` was given.
        """
        # Ours, for headers that pika's own would end at: a dead letter may have any.
        connection = connection_class()(
            connection_parameters(amqp_url, self._name),
            on_open_callback=lambda opened: opened.channel(on_open_callback=self._opened),
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
        )
        try:
            with self._lock:
                if self._stopped:
                    return
                self._ioloop = connection.ioloop
            connection.ioloop.start()
            if self._raised is not None:
                raise self._raised
            if self._problem is not None:
                raise Overloaded(f"RabbitMQ: {self._problem}")
        finally:
            with self._lock:
                self._ioloop = None
            if connection.is_open:
                connection.close()
                connection.ioloop.call_later(GOODBYE_SECONDS, connection.ioloop.stop)
                connection.ioloop.start()
            connection.ioloop.close()

    def end(self) -> None:
        """All is done: closes the channel, which gives back what is not acked, and `run` returns.
        On the thread of `run` only."""
        self._problem = None
        if self._channel is not None and self._channel.is_open:
            self._channel.close()

    def fail(self, error: BaseException) -> None:
        """`run` raises `error`. A callback must not raise by itself: pika would take it for its own
        fault. On the thread of `run` only."""
        self._raised = error
        if self._channel is not None:
            self._channel.connection.ioloop.stop()

    def stop(self) -> None:
        """`run` returns soon; from any thread."""
        with self._lock:
            self._stopped = True
            if self._ioloop is not None:
                self._ioloop.add_callback_threadsafe(self._stop_now)

    def _stop_now(self) -> None:
        self._problem = None
        if self._ioloop is not None:
            self._ioloop.stop()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._channel_closed)
        self._on_channel(channel)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._problem is not None:
            self._problem = str(reason)
        if channel.connection.is_open:
            channel.connection.ioloop.stop()

    def _on_closed(self, connection: pika.SelectConnection, reason: BaseException) -> None:
        if self._problem is not None:
            self._problem = cause_of(reason)
        connection.ioloop.stop()


def follow_stream(stream: Queue, on_message: Callable[[bytes], None], name: str) -> Session:
    """A session that hands over every message of a stream queue, from its newest chunk on, in
    order (https://www.rabbitmq.com/docs/streams#consuming). What `on_message` raises ends it.

    A stream that was deleted is declared again, where this user may; one that is missing or does
    not recover ends the session with `Overloaded`.
    """

    def consume(channel: Channel) -> None:
        channel.basic_qos(prefetch_count=100)  # streams refuse a consumer without one
        channel.add_on_cancel_callback(lambda _frame: channel.close())  # the stream was deleted
        channel.basic_consume(stream.name, deliver, arguments={"x-stream-offset": "last"})

    def deliver(channel: Channel, method: Any, _properties: object, body: bytes) -> None:
        try:
            on_message(body)
        except Exception as error:
            session.fail(error)
            return
        channel.basic_ack(method.delivery_tag)  # for more credit; nothing leaves a stream

    def find(channel: Channel) -> None:
        carry_out(channel.connection, find_stream(stream), lambda _: consume(channel), session.fail)

    session = Session(name, find)
    return session
