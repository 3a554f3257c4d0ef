"""How do bytes reach RabbitMQ fast and safely?

One pika `SelectConnection` on one I/O thread per process. Deliveries are handed over in batches,
publishes are pipelined (persistent, mandatory, confirmed), inputs are acked only after every one
of their outputs is confirmed. Whatever goes wrong on a channel closes the connection: there is a
single way to recover, and it is a new connection on which everything is declared again.
"""

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, Queue
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop
from pika.channel import Channel
from tenacity import RetryCallState, Retrying, stop_when_event_set, wait_exponential_jitter
from tenacity.nap import sleep_using_event

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messages import Delivery, Outgoing
from shared.messaging.address import cause_of, connection_parameters
from shared.messaging.amqp.fast_connection import connection_class, hang_up
from shared.messaging.confirms import Group, Publication
from shared.messaging.consumer import Consumer
from shared.messaging.declare import Declarations, Refused, forbidden_queue, try_taking
from shared.messaging.publisher import Publisher
from shared.messaging.rights import Rights
from shared.service.metrics import CONNECTION_UP
from shared.topology import Topology

logger = logging.getLogger(__name__)


Handled = tuple[Delivery, Sequence[Outgoing]]
"""A handled delivery and what has to be confirmed before it is acked."""


# A connection that ends sooner was of no use: the broker refuses what we do first on each (a right
# is missing), and must be asked less and less often.
OF_USE_SECONDS = 1.0
# How long a program that sends little may not notice that somebody made an exchange anew, without
# the rights to it. Each look is an error in RabbitMQ's log: it is a message that must be refused.
RIGHTS_SECONDS = 3_600.0


Refuse = Callable[[str, HitlError], object]
"""Takes a workflow, and why RabbitMQ does not give it its queues."""


class _OfNoUse(Exception):
    """A connection that ended before anything could be done with it."""


class Broker:
    """A connection that keeps itself up. All public methods may be called from any thread."""

    def __init__(
        self,
        amqp_url: str,
        *,
        name: str,
        topology: Topology | None = None,
        consumer: Consumer | None = None,
        rights: Rights | None = None,
        refuse: Refuse | None = None,
    ) -> None:
        """`rights`: those that the program's user has at least (shared/messaging/rights.py); by
        them it knows what to look for, and what it must be refused. None: all of the topology, and
        nothing. `refuse` is told, on the I/O thread, of a workflow that RabbitMQ does not give its
        queues; it is left out until somebody adds it. None: then there is no connection at all."""
        self._parameters = connection_parameters(amqp_url, name)
        self._name = name
        self._rights = rights
        self._declarations = Declarations(topology, rights) if topology is not None else None
        self._refuse = refuse
        self._lacking: frozenset[str] = frozenset()
        # Queues that can be seen, and not be taken from: it shows only when we try.
        self._forbidden: dict[str, ConfigurationError] = {}
        self._consumer = consumer
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._ioloop: IOLoop | None = None
        self._connection: pika.SelectConnection | None = None
        self._publisher = Publisher(
            outputs_confirmed=self._mark_ackable, replace=self._replace_channel
        )
        self._replaced: Channel | None = None
        self._calls: deque[Callable[[], None]] = deque()  # from other threads, to the I/O thread
        self._generation = 0
        self._takes_counted = False
        self._ready_at = 0.0  # monotonic seconds
        self._blocked: str | None = None
        self._problem: str | None = "not connected yet"
        self._cause: str | None = None  # the first thing that went wrong on this connection
        self._thread = threading.Thread(target=self._run, name=f"amqp-{name}", daemon=True)

    # -- for any thread ----------------------------------------------------------------------

    def start(self) -> None:
        """Starts connecting and returns at once."""
        self._thread.start()

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether the connection came up (declared, confirming, consuming) in time."""
        return self._ready.wait(timeout_seconds)

    def problem(self) -> str | None:
        """Why nothing can be published right now; None when it can."""
        return self._problem or self._blocked

    @property
    def lacking(self) -> frozenset[str]:
        """The workflows without their queues: what is sent in their names may reach nobody."""
        return self._lacking

    @property
    def generation(self) -> int:
        """Grows with each connection; a delivery of an older one can no longer be acked."""
        return self._generation

    @property
    def takes_counted(self) -> bool:
        """Whether this broker writes `x-acquired-count` on what it delivers again."""
        return self._takes_counted

    def publish(self, messages: Sequence[Outgoing], timeout_seconds: float = 30.0) -> None:
        """Returns when every message is confirmed. A nack, a return or a lost connection only
        means that it is published again, with the same id.

        Raises:
            Overloaded: not confirmed in time; some may have arrived.
        """
        if not messages:
            return
        done = threading.Event()
        group = Group(len(messages), time.monotonic(), done=done.set)
        publications = [Publication(message, group) for message in messages]
        call = partial(self._publisher.send, publications)
        self._call(call)
        if not done.wait(timeout_seconds):
            group.cancelled = True
            self._withdraw(call)
            why = self.problem() or "no confirm from the broker"
            raise Overloaded(f"{group.remaining} of {len(messages)} messages unconfirmed: {why}")

    def publish_then_ack(self, handled: Sequence[Handled]) -> None:
        """Publishes the outputs and acks each delivery once all of its own are confirmed."""
        if self._consumer is None:
            raise RuntimeError("a broker without a consumer has nothing to ack")
        self._call(partial(self._publish_then_ack, handled))

    def pause(self) -> None:
        """Stops taking deliveries; those taken can still be acked."""
        if self._consumer is not None:
            self._call(self._consumer.pause)

    def resume(self) -> None:
        """Takes deliveries again, carefully: one at a time first."""
        if self._consumer is not None:
            self._call(self._consumer.resume)

    def go_on(self) -> None:
        """Takes deliveries on the channel that opened while the consumer's owner was busy."""
        if self._consumer is not None:
            self._call(self._consumer.go_on)

    def add(
        self, topology: Topology, queues: Sequence[str] = (), timeout_seconds: float = 10.0
    ) -> None:
        """Declares `topology` beside the one so far and takes from these queues as well; what is
        under way goes on. Safe to repeat.

        Raises:
            Overloaded: not within the time, or something is missing that somebody may yet declare.
            ConfigurationError: the broker has a queue by this name that is another, or that this
                user may not take from.
        """
        outcome: Queue[HitlError | None] = Queue()
        call = partial(self._add, topology, queues, outcome.put)
        self._call(call)
        try:
            problem = outcome.get(timeout=timeout_seconds)
        except Empty:
            self._withdraw(call)
            problem = Overloaded(f"RabbitMQ: {self.problem() or 'not taken up in time'}")
        if problem is not None:
            raise problem

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Closes the connection; the I/O thread ends last. What is not acked goes back."""
        self._closing.set()
        self._call(self._close_connection)
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    # -- the I/O thread: connection ----------------------------------------------------------

    def _run(self) -> None:
        backoff = Retrying(
            wait=wait_exponential_jitter(multiplier=0.2, max=10.0, jitter=0.5),
            stop=stop_when_event_set(self._closing),
            sleep=sleep_using_event(self._closing),
            before_sleep=self._log_retry,
            retry_error_callback=lambda _state: None,
        )
        while not self._closing.is_set():
            backoff(self._live_once)  # returns when a connection that was of use has ended

    def _log_retry(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        logger.warning(
            "no connection to RabbitMQ; trying again",
            extra={
                "connection": self._name,
                "attempt": state.attempt_number,
                "problem": self._problem,
            },
            # An error of our own on this thread must not hide behind a reconnect.
            exc_info=None if isinstance(error, _OfNoUse) else error,
        )

    def _live_once(self) -> None:
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
            of_use = self._ready.is_set() and time.monotonic() - self._ready_at >= OF_USE_SECONDS
            with self._lock:
                self._ioloop = None
                self._connection = None
            self._forget_connection()
            hang_up(connection)
            connection.ioloop.close()
        if not of_use and not self._closing.is_set():
            raise _OfNoUse(self._problem)

    def _forget_connection(self) -> None:
        self._replaced = None
        self._ready.clear()
        self._blocked = None
        CONNECTION_UP.labels(self._name).set(0)
        self._problem = self._cause or "connection lost"
        self._cause = None
        self._publisher.lost()
        if self._consumer is not None:
            self._consumer.lost()

    def _on_open(self, connection: pika.SelectConnection) -> None:
        if self._closing.is_set():
            connection.close()
            return
        self._generation += 1
        self._takes_counted = _release(connection) >= (4, 3)
        if self._declarations is None:
            self._open_channel(connection)
        else:
            declared = partial(self._declared, connection, self._declarations)
            self._declarations.begin(connection, declared, self._give_up)

    def _declared(
        self, connection: pika.SelectConnection, declarations: Declarations, refused: Refused
    ) -> None:
        """What was refused is left out, on later connections as well."""
        owners = {queue.name: queue.workflow for queue in declarations.topology.queues}
        for queue, forbidden in self._forbidden.items():
            if (owner := owners.get(queue)) is not None:
                refused = {owner: forbidden, **refused}
        if refused and self._refuse is None:
            self._give_up("; ".join(map(str, refused.values())))
            return
        topology = declarations.topology
        self._declarations = declarations.with_the_same_rights(topology.without(refused))
        self._lacking |= set(refused)
        for name, why in refused.items():
            if self._consumer is not None:
                self._consumer.leave_out([queue.name for queue in topology.queues_of(name)])
            if self._refuse is not None:
                self._refuse(name, why)
        self._open_channel(connection)

    def _open_channel(self, connection: pika.SelectConnection) -> None:
        connection.channel(on_open_callback=self._on_channel_open)

    def _on_channel_open(self, channel: Channel) -> None:
        # Without this callback a channel that the broker closes looks alive for minutes.
        channel.add_on_close_callback(self._on_channel_closed)
        confirming = partial(self._on_confirming, channel)
        channel.confirm_delivery(self._publisher.on_confirm, callback=confirming)

    def _on_confirming(self, channel: Channel, _frame: object) -> None:
        self._publisher.opened(channel)
        if self._consumer is None:
            self._on_ready()
        else:
            opened = partial(self._on_consumer_channel, self._consumer)
            channel.connection.channel(on_open_callback=opened)

    def _on_consumer_channel(self, consumer: Consumer, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_cancel_callback(self._on_cancelled_by_broker)
        consumer.opened(channel, self._generation)
        self._on_ready()

    def _on_ready(self) -> None:
        self._problem = None
        self._ready_at = time.monotonic()
        self._ready.set()
        CONNECTION_UP.labels(self._name).set(1)
        logger.info("connected to RabbitMQ", extra={"connection": self._name})
        self._run_calls()
        self._publisher.flush()
        self._check_rights_later()

    def _check_rights_later(self) -> None:
        if self._connection is not None and self._declarations is not None:
            # Not all at once, after the broker was away.
            pause = RIGHTS_SECONDS * random.uniform(0.5, 1.0)  # noqa: S311
            self._connection.ioloop.call_later(pause, self._check_rights)

    def _check_rights(self) -> None:
        connection, declarations = self._connection, self._declarations
        if connection is not None and connection.is_open and declarations is not None:
            declarations.check_rights(connection, self._check_rights_later, self._give_up)

    def _replace_channel(self, channel: Channel) -> None:
        """Another channel for publishing; that of the deliveries stays as it is."""
        self._replaced = channel
        if channel.is_open:
            channel.close()

    def _on_replacement(self, channel: Channel) -> None:
        channel.add_on_close_callback(self._on_channel_closed)

        def confirming(_frame: object) -> None:
            self._publisher.opened(channel)
            self._publisher.flush()

        channel.confirm_delivery(self._publisher.on_confirm, callback=confirming)

    def _on_channel_closed(self, channel: Channel, reason: BaseException) -> None:
        if self._closing.is_set():
            return
        if self._replaced is not None and channel is self._replaced:
            self._replaced = None
            if channel.connection.is_open:
                channel.connection.channel(on_open_callback=self._on_replacement)
            return
        if (queue := forbidden_queue(reason)) is not None:
            self._forbidden[queue] = ConfigurationError(str(reason))
        self._give_up(f"channel closed by the broker: {reason}")

    def _give_up(self, why: str) -> None:
        if self._cause is None:  # else the channels that go with the connection say so
            self._cause = why
            logger.warning(why)
            self._close_connection()

    def _on_cancelled_by_broker(self, _frame: object) -> None:
        """By 4.3 for a message that was held for too long, too; older ones close the channel."""
        if self._consumer is not None:
            self._consumer.cancelled()
        self._give_up(
            "consumer cancelled by the broker: a message was held for too long,"
            " or the queue was deleted"
        )

    def _on_closed(self, connection: pika.SelectConnection, reason: BaseException | str) -> None:
        if not self._closing.is_set():
            self._cause = self._cause or f"connection lost: {cause_of(reason)}"
        connection.ioloop.stop()

    def _close_connection(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.is_open:
            if self._consumer is not None:
                self._consumer.closing()
            connection.close()
        elif connection.is_closed:
            connection.ioloop.stop()

    def _on_blocked(self, _connection: object, frame: Any) -> None:
        self._blocked = (
            f"RabbitMQ takes no messages ({frame.method.reason}): free memory or disk there"
        )
        self._publisher.hold()
        CONNECTION_UP.labels(self._name).set(0)
        logger.warning(self._blocked)

    def _on_unblocked(self, _connection: object, _frame: object) -> None:
        self._blocked = None
        CONNECTION_UP.labels(self._name).set(1)
        self._publisher.release()

    # -- the I/O thread: work ----------------------------------------------------------

    def _call(self, function: Callable[[], None]) -> None:
        """Runs `function` on the I/O thread: soon where connected, else once connected again."""
        self._calls.append(function)
        if threading.current_thread() is self._thread:
            self._run_calls()
            return
        with self._lock:
            if self._ioloop is not None:
                self._ioloop.add_callback_threadsafe(self._run_calls)

    def _withdraw(self, call: Callable[[], None]) -> None:
        """Nobody waits for it any more: where there was no connection, it is not kept for one."""
        with suppress(ValueError):  # it has begun
            self._calls.remove(call)

    def _run_calls(self) -> None:
        if self._ready.is_set() or self._closing.is_set():
            while self._calls:
                self._calls.popleft()()

    def _add(
        self,
        topology: Topology,
        queues: Sequence[str],
        tell: Callable[[HitlError | None], None],
    ) -> None:
        before = self._declarations
        added = (
            Declarations(topology, self._rights)
            if before is None
            else before.with_the_same_rights(topology)
        )

        def declared(refused: Refused) -> None:
            if refused:
                tell(next(iter(refused.values())))
                return
            tried = next((queue for queue in queues if queue in self._forbidden), None)
            if tried is None:
                take()
            elif self._connection is not None and self._connection.is_open:
                try_taking(self._connection, tried, partial(allowed, tried))

        def allowed(queue: str, why_not: str | None) -> None:
            """Tried apart: on the channel of the deliveries a refusal would end all of them."""
            if why_not is not None:
                tell(ConfigurationError(why_not))
                return
            del self._forbidden[queue]
            declared({})

        def take() -> None:
            known = self._declarations
            whole = topology if known is None else known.topology.joined(topology)
            self._declarations = added.with_the_same_rights(whole)
            self._lacking -= set(topology.workflows)
            taken = self._consumer is None or self._consumer.add(queues)
            tell(None if taken else Overloaded("RabbitMQ: consuming is paused"))

        def failed(why: str) -> None:
            tell(Overloaded(f"RabbitMQ: {why}"))

        if self._connection is not None and self._connection.is_open:
            added.begin(self._connection, declared, failed)

    def _publish_then_ack(self, handled: Sequence[Handled]) -> None:
        now = time.monotonic()
        publications: list[Publication] = []
        without: list[Delivery] = []
        for delivery, outputs in handled:
            if delivery.generation != self._generation:
                continue  # its channel is gone: the broker delivers it again
            if not outputs:
                without.append(delivery)
                continue
            group = Group(len(outputs), now, delivery)
            publications += [Publication(message, group) for message in outputs]
        self._mark_ackable(without)
        self._publisher.send(publications)

    def _mark_ackable(self, deliveries: Sequence[Delivery]) -> None:
        if self._consumer is not None and deliveries:
            self._consumer.mark_ackable(deliveries)


def _release(connection: pika.SelectConnection) -> tuple[int, int]:
    """Of RabbitMQ; (0, 0) for a broker that says none."""
    said = re.match(r"(\d+)\.(\d+)", str(connection.server_properties.get("version", "")))
    return (int(said[1]), int(said[2])) if said else (0, 0)


def declare_all(
    amqp_url: str, topology: Topology, *, timeout_seconds: float = 60.0
) -> dict[str, HitlError]:
    """Declares everything once; answers the workflows whose queues the broker refuses, and why.

    Raises:
        Overloaded: the broker could not be reached within the time, or refused what all share.
    """
    refused: dict[str, HitlError] = {}
    broker = Broker(amqp_url, name="declare", topology=topology, refuse=refused.__setitem__)
    broker.start()
    try:
        if not broker.wait_ready(timeout_seconds):
            raise Overloaded(f"RabbitMQ: {broker.problem()}")
    finally:
        broker.close()
    return refused
