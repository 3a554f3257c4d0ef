"""A connection to RabbitMQ that keeps itself up: how bytes get there fast and safely.

One pika `SelectConnection` on one I/O thread per process (io_thread.py) with two channels on it
(channels.py). Deliveries are handed over in batches, publishes are pipelined (persistent,
mandatory, confirmed), inputs are acked only after every one of their outputs is confirmed.
Everything is declared again on each new connection (declared.py).
"""

import re
import threading
import time
from collections.abc import Callable, Container, Sequence
from functools import partial
from queue import Empty, Queue

import pika

from shared.backoff import jittered
from shared.errors import HitlError, Overloaded
from shared.messages import Delivery, Outgoing
from shared.messaging.channels import Channels
from shared.messaging.confirms import Group, Publication
from shared.messaging.consumer import Consumer
from shared.messaging.declared import Declared, Refuse
from shared.messaging.io_thread import IoThread
from shared.messaging.rights import Rights
from shared.messaging.steps import carry_out
from shared.topology import Topology

# How long a program that sends little may not notice that somebody made an exchange anew, without
# the rights to it. Each look is an error in RabbitMQ's log: it is a message that must be refused.
RIGHTS_SECONDS = 3_600.0

Handled = tuple[Delivery, Sequence[Outgoing]]
"""A handled delivery and what has to be confirmed before it is acked."""


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
        self._consumer = consumer
        self._declared = Declared(topology, rights, refuse)
        self._channels = Channels(
            consumer, ready=self._on_ready, ended=self._on_ended, cancelled=self._on_cancelled
        )
        self._publisher = self._channels.publisher
        self._io = IoThread(
            amqp_url,
            name,
            opened=self._on_open,
            closing=self._channels.closing,
            lost=self._channels.lost,
            blocked=self._publisher.hold,
            unblocked=self._publisher.release,
        )
        self._takes_counted = False

    def start(self) -> None:
        """Starts connecting and returns at once."""
        self._io.start()

    def wait_ready(self, timeout_seconds: float) -> bool:
        """Whether the connection came up (declared, confirming, consuming) in time."""
        return self._io.wait_ready(timeout_seconds)

    def problem(self) -> str | None:
        """Why nothing can be published right now; None when it can."""
        return self._io.problem()

    @property
    def lacking(self) -> frozenset[str]:
        """The workflows without their queues: what is sent in their names may reach nobody."""
        return self._declared.lacking

    @property
    def generation(self) -> int:
        """Grows with each connection; a delivery of an older one can no longer be acked."""
        return self._io.generation

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
        self._io.call(call)
        if not done.wait(timeout_seconds):
            group.cancelled = True
            self._io.withdraw(call)
            why = self.problem() or "no confirm from the broker"
            raise Overloaded(f"{group.remaining} of {len(messages)} messages unconfirmed: {why}")

    def publish_then_ack(self, handled: Sequence[Handled]) -> None:
        """Publishes the outputs and acks each delivery once all of its own are confirmed."""
        if self._consumer is None:
            raise RuntimeError("a broker without a consumer has nothing to ack")
        self._io.call(partial(self._publish_then_ack, handled))

    def pause(self) -> None:
        """Stops taking deliveries; those taken can still be acked."""
        if self._consumer is not None:
            self._io.call(self._consumer.pause)

    def resume(self) -> None:
        """Takes deliveries again, carefully: one at a time first."""
        if self._consumer is not None:
            self._io.call(self._consumer.resume)

    def take_held_back(self) -> None:
        """Takes deliveries on the channel that opened while the consumer's owner was busy."""
        if self._consumer is not None:
            self._io.call(self._consumer.take_held_back)

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
        self._io.call(call)
        try:
            problem = outcome.get(timeout=timeout_seconds)
        except Empty:
            self._io.withdraw(call)
            problem = Overloaded(f"RabbitMQ: {self.problem() or 'no answer in time'}")
        if problem is not None:
            raise problem

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Closes the connection; the I/O thread ends last. What is not acked goes back."""
        self._io.close(timeout_seconds)

    # -- on the I/O thread -------------------------------------------------------------------

    def _on_open(self, connection: pika.SelectConnection) -> None:
        self._takes_counted = _release(connection) >= (4, 3)
        carry_out(
            connection,
            self._declared.begin(self._leave_out),
            lambda _: self._channels.open(connection, self._io.generation),
            self._give_up,
        )

    def _give_up(self, error: HitlError) -> None:
        self._io.give_up(str(error))

    def _leave_out(self, queues: Container[str]) -> None:
        if self._consumer is not None:
            self._consumer.leave_out(queues)

    def _on_ready(self) -> None:
        self._io.ready()
        self._publisher.flush()
        self._check_rights_later()

    def _on_ended(self, reason: BaseException) -> None:
        self._declared.forbid(reason)
        self._io.give_up(f"channel closed by the broker: {reason}")

    def _on_cancelled(self) -> None:
        self._io.give_up(
            "consumer cancelled by the broker: a message stayed unacknowledged for too long,"
            " or the queue was deleted"
        )

    def _check_rights_later(self) -> None:
        if self._io.connection is not None:
            pause = jittered(RIGHTS_SECONDS)
            self._io.connection.ioloop.call_later(pause, self._check_rights)

    def _check_rights(self) -> None:
        if self._io.connection is not None:
            carry_out(
                self._io.connection,
                self._declared.check_rights(),
                lambda _: self._check_rights_later(),
                self._give_up,
            )

    def _add(
        self, topology: Topology, queues: Sequence[str], tell: Callable[[HitlError | None], None]
    ) -> None:
        if self._io.connection is not None:
            adding = self._declared.add(topology, queues, self._take)
            carry_out(self._io.connection, adding, tell, tell)

    def _take(self, queues: Sequence[str]) -> bool:
        return self._consumer is None or self._consumer.add(queues)

    def _publish_then_ack(self, handled: Sequence[Handled]) -> None:
        now = time.monotonic()
        publications: list[Publication] = []
        without: list[Delivery] = []
        for delivery, outputs in handled:
            if delivery.generation != self._io.generation:
                continue  # its channel is gone: the broker delivers it again
            if not outputs:
                without.append(delivery)
                continue
            group = Group(len(outputs), now, delivery)
            publications += [Publication(message, group) for message in outputs]
        self._channels.mark_ackable(without)
        self._publisher.send(publications)


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
