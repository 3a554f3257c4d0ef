"""The I/O thread: one connection to RabbitMQ after the other, until somebody closes it.

Whatever goes wrong ends the connection, and the next one starts afresh: there is a single way to
recover. It waits longer after each connection that was of no use, and with jitter.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from tenacity import RetryCallState, Retrying, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from shared.messaging.address import cause_of, connection_parameters
from shared.messaging.amqp.fast_connection import close_socket, connection_class
from shared.service.metrics import CONNECTION_UP

logger = logging.getLogger(__name__)

# A connection that ends sooner was of no use: the broker refuses what we do first on each (a right
# is missing), and must be asked less and less often.
MIN_USEFUL_SECONDS = 1.0


class _EndedAtOnce(Exception):
    """A connection that ended before anything could be done with it."""


class IoThread:
    """Opens, serves and reopens the connection. What is not said to be for the I/O thread may be
    called from any."""

    def __init__(
        self,
        amqp_url: str,
        name: str,
        *,
        opened: Callable[[pika.SelectConnection], None],
        closing: Callable[[], None],
        lost: Callable[[], None],
        blocked: Callable[[], None],
        unblocked: Callable[[], None],
    ) -> None:
        """`name` is what operators see. On the I/O thread are called: `opened` with each new
        connection, for its owner to set up and then call `ready`; `closing` before we close it,
        `lost` when it is gone; `blocked` when the broker takes no messages for now, `unblocked`
        when it does again."""
        self._parameters = connection_parameters(amqp_url, name)
        self._name = name
        self._opened, self._before_closing, self._lost = opened, closing, lost
        self._on_block, self._on_unblock = blocked, unblocked
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._ioloop: IOLoop | None = None
        self._connection: pika.SelectConnection | None = None
        self._calls: deque[Callable[[], None]] = deque()  # from other threads
        self._generation = 0
        self._ready_at = 0.0  # monotonic seconds
        self._blocked: str | None = None
        self._problem: str | None = "not connected yet"
        self._cause: str | None = None  # the first thing that went wrong on this connection
        self._thread = threading.Thread(target=self._run, name=f"amqp-{name}", daemon=True)

    def start(self) -> None:
        """Starts connecting and returns at once."""
        self._thread.start()

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether the connection came up in time."""
        return self._ready.wait(timeout_seconds)

    def problem(self) -> str | None:
        """Why nothing can be published right now; None when it can."""
        return self._problem or self._blocked

    @property
    def generation(self) -> int:
        """Grows with each connection."""
        return self._generation

    @property
    def connection(self) -> pika.SelectConnection | None:
        """The one that is open now, if any. For the I/O thread."""
        live = self._connection
        return live if live is not None and live.is_open else None

    def call(self, function: Callable[[], None]) -> None:
        """Runs `function` on the I/O thread: soon where connected, else once connected again."""
        self._calls.append(function)
        if threading.current_thread() is self._thread:
            self._run_calls()
            return
        with self._lock:
            if self._ioloop is not None:
                self._ioloop.add_callback_threadsafe(self._run_calls)

    def withdraw(self, call: Callable[[], None]) -> None:
        """Nobody waits for it any more: where there was no connection, it is not kept for one."""
        with suppress(ValueError):  # it has begun
            self._calls.remove(call)

    def close(self, timeout_seconds: float) -> None:
        """Closes the connection; the thread ends last. What is not acked goes back."""
        self._closing.set()
        self.call(self._close_connection)
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def ready(self) -> None:
        """All is set up on this connection: what others wait for begins. For the I/O thread."""
        self._problem = None
        self._ready_at = time.monotonic()
        self._ready.set()
        CONNECTION_UP.labels(self._name).set(1)
        logger.info("connected to RabbitMQ", extra={"connection": self._name})
        self._run_calls()

    def give_up(self, why: str) -> None:
        """Ends this connection, for the next one to start afresh. For the I/O thread."""
        if self._cause is None and not self._closing.is_set():
            self._cause = why  # the channels that go with the connection say so, too
            logger.warning(why)
            self._close_connection()

    def _run_calls(self) -> None:
        if self._ready.is_set() or self._closing.is_set():
            while self._calls:
                self._calls.popleft()()

    def _run(self) -> None:
        backoff = Retrying(
            wait=wait_exponential_jitter(multiplier=0.2, max=10.0, jitter=0.5),
            stop=stop_when_event_set(self._closing),
            sleep=sleep_using_event(self._closing),
            before_sleep=self._log_retry,
            retry_error_callback=lambda _state: None,
        )
        while not self._closing.is_set():
            backoff(self._serve_one)  # returns when a connection that was of use has ended

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        logger.warning(
            "no connection to RabbitMQ; reconnecting",
            extra={
                "connection": self._name,
                "attempt": state.attempt_number,
                "problem": self._problem,
            },
            # An error of our own on this thread must not hide behind a reconnect.
            exc_info=None if isinstance(error, _EndedAtOnce) else error,
        )

    def _serve_one(self) -> None:
        """One connection from its opening to its end."""
        connection = connection_class()(
            self._parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_closed,
            on_close_callback=self._on_closed,
        )
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        with self._lock:
            self._connection = connection
            self._ioloop = connection.ioloop
        try:
            if self._closing.is_set():
                connection.ioloop.add_callback_threadsafe(self._close_connection)
            connection.ioloop.start()
        finally:
            of_use = (
                self._ready.is_set() and time.monotonic() - self._ready_at >= MIN_USEFUL_SECONDS
            )
            with self._lock:
                self._ioloop = None
                self._connection = None
            self._ready.clear()
            self._blocked = None
            self._problem, self._cause = self._cause or "connection lost", None
            CONNECTION_UP.labels(self._name).set(0)
            self._lost()
            close_socket(connection)
            connection.ioloop.close()
        if not of_use and not self._closing.is_set():
            raise _EndedAtOnce(self._problem)

    def _on_open(self, connection: pika.SelectConnection) -> None:
        if self._closing.is_set():
            connection.close()
            return
        self._generation += 1
        self._opened(connection)

    def _on_closed(self, connection: pika.SelectConnection, reason: BaseException | str) -> None:
        if not self._closing.is_set():
            self._cause = self._cause or f"connection lost: {cause_of(reason)}"
        connection.ioloop.stop()

    def _close_connection(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.is_open:
            self._before_closing()
            connection.close()
        elif connection.is_closed:
            connection.ioloop.stop()

    def _on_blocked(self, _connection: object, frame: Any) -> None:
        why = frame.method.reason
        self._blocked = f"RabbitMQ is blocking publishers ({why}): free memory or disk space there"
        self._on_block()
        CONNECTION_UP.labels(self._name).set(0)
        logger.warning(self._blocked)

    def _on_unblocked(self, _connection: object, _frame: object) -> None:
        self._blocked = None
        CONNECTION_UP.labels(self._name).set(1)
        self._on_unblock()
