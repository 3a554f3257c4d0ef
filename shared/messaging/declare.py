"""Declaration of the topology on a connection, or a look whether it is there.

Whoever may configure declares all of it on every connection, which changes nothing where it is
there. A user without that right (docs/operate/security.md) is refused, and from then on only looks
whether `hitl prepare` has declared what its own program needs, and whether RabbitMQ still holds it
to its routing keys: 4.3 forgets these with a deleted exchange, and then lets everybody send
everything. Runs on the broker's I/O thread.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.rights import Rights
from shared.messaging.rights_probe import check_keys
from shared.messaging.steps import (
    REFUSED,
    Step,
    declare_queue,
    exchange_look,
    in_turn,
    look_for,
    one_look,
    queue_look,
)
from shared.topology import QUEUES, Queue, Topology

logger = logging.getLogger(__name__)

Refused = Mapping[str, HitlError]
"""Workflow → why the broker does not give it its queues."""
Then = Callable[[Refused], None]


class Declarations:
    """A topology for one connection after the other; remembers whether it may be declared."""

    def __init__(self, topology: Topology, rights: Rights | None = None) -> None:
        """`rights`: those of the program's user; what else there is, it cannot look for."""
        self.topology = topology
        self._rights = rights
        self._own = topology if rights is None else rights.part_of(topology)
        self._may_declare = True

    def with_the_same_rights(self, topology: Topology) -> "Declarations":
        """Those of another topology; what this user may not do is not tried again."""
        other = Declarations(topology, self._rights)
        other._may_declare = self._may_declare
        return other

    def begin(
        self, connection: pika.SelectConnection, then: Then, fail: Callable[[str], None]
    ) -> None:
        """Then `then`, with the workflows whose queues the broker refuses or lacks: each is tried
        on a channel of its own, and harms no other. Or `fail`, with the reason, where that is so of
        what all of them share."""
        if self._may_declare:
            self._declare(connection, then, fail)
        else:
            self._look(connection, then, fail)

    def _declare(
        self, connection: pika.SelectConnection, then: Then, fail: Callable[[str], None]
    ) -> None:
        topology = self.topology
        refused: dict[str, HitlError] = {}
        to_bind = topology
        waiting = iter(topology.workflows)

        def next_workflow() -> None:
            name = next(waiting, None)
            if name is None:
                in_turn(connection, partial(_bind, to_bind.without(refused)), bound)
            else:
                steps = partial(_declare_queues, topology.queues_of(name))
                in_turn(connection, steps, partial(declared, name))

        def declared(name: str, refusal: ChannelClosedByBroker | None) -> None:
            nonlocal to_bind
            if refusal is not None and refusal.reply_code == REFUSED:  # it may be there already
                to_bind = to_bind.without([name])
                self._look_for(connection, name, refused, next_workflow)
                return
            if refusal is not None:
                refused[name] = _wrongly_declared(refusal)
            next_workflow()

        def shared(refusal: ChannelClosedByBroker | None) -> None:
            if well(refusal):
                next_workflow()

        def bound(refusal: ChannelClosedByBroker | None) -> None:
            if well(refusal):
                self._streams(connection, partial(then, refused))

        def well(refusal: ChannelClosedByBroker | None) -> bool:
            if refusal is None:
                return True
            if refusal.reply_code == REFUSED:
                self._may_declare = False
                self.begin(connection, then, fail)
            else:
                fail(f"channel closed by the broker: {refusal}")
            return False

        in_turn(connection, partial(_declare_queues, topology.queues_of(None)), shared)

    def _look(
        self, connection: pika.SelectConnection, then: Then, fail: Callable[[str], None]
    ) -> None:
        own = self._own
        refused: dict[str, HitlError] = {}
        waiting = iter(own.workflows)

        def next_workflow() -> None:
            name = next(waiting, None)
            if name is None:
                self._streams(connection, looked_for)
            else:
                self._look_for(connection, name, refused, next_workflow)

        def looked_for() -> None:
            self.check_rights(connection, partial(then, refused), fail)

        looks = chain(map(queue_look, own.queues_of(None)), map(exchange_look, own.exchanges))
        look_for(connection, looks, next_workflow, fail)

    def _look_for(
        self,
        connection: pika.SelectConnection,
        workflow: str,
        refused: dict[str, HitlError],
        then: Callable[[], None],
    ) -> None:
        """Whether one workflow's queues are there: else it is `refused`; `then` in any case."""

        def missing(why: str) -> None:
            refused[workflow] = Overloaded(why)
            then()

        look_for(connection, map(queue_look, self._own.queues_of(workflow)), then, missing)

    def check_rights(
        self,
        connection: pika.SelectConnection,
        then: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        """Then `then`; or `fail`, where RabbitMQ does not hold this user to its routing keys.

        It is tried with a message that is refused in any case, and reaches no queue. A user that
        may declare is the owner, or one for all: it may send everything."""
        own = () if self._may_declare or self._rights is None else sorted(self._rights.keys)
        check_keys(connection, own, then, fail)

    def _streams(self, connection: pika.SelectConnection, then: Callable[[], None]) -> None:
        """Each on a channel of its own, which a stream that does not recover may end."""
        streams = iter((self.topology if self._may_declare else self._own).streams)

        def next_stream(refusal: ChannelClosedByBroker | None = None) -> None:
            if refusal is not None:
                logger.warning("a stream is not available", extra={"problem": str(refusal)})
            stream = next(streams, None)
            if stream is None:
                then()
            elif self._may_declare:
                in_turn(connection, partial(declare_stream, stream), next_stream)
            else:
                in_turn(connection, partial(one_look, queue_look(stream)), next_stream)

        next_stream()


def _declare_queues(queues: Iterable[Queue], channel: Channel) -> Iterator[Step]:
    return (declare_queue(channel, queue) for queue in queues)


def _bind(topology: Topology, channel: Channel) -> Iterator[Step]:
    """Once the queues are there, each exchange directly before its bindings, the alternate exchange
    first of all: an exchange without its bindings would confirm messages and drop them."""
    streams = {stream.name for stream in topology.streams}
    for exchange in topology.exchanges:
        yield partial(
            channel.exchange_declare,
            exchange.name,
            exchange.kind,
            durable=True,
            arguments=dict(exchange.arguments),
        )
        for binding in topology.bindings:
            if binding.exchange == exchange.name and binding.queue not in streams:
                yield partial(
                    channel.queue_bind,
                    binding.queue,
                    binding.exchange,
                    routing_key=binding.routing_key,
                )


def declare_stream(stream: Queue, channel: Channel) -> Iterator[Step]:
    """A stream queue and its binding, for `in_turn`."""
    yield declare_queue(channel, stream)
    yield partial(channel.queue_bind, stream.name, QUEUES, routing_key=stream.name)


def _wrongly_declared(refusal: ChannelClosedByBroker) -> ConfigurationError:
    return ConfigurationError(
        f"{refusal.reply_text}; RabbitMQ has it otherwise than this release declares it: move what"
        " lies in it, and delete it"
    )
