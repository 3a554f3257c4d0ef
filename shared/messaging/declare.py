"""Declaration of the topology on a connection, or a look whether it is there.

Whoever may configure declares all of it on every connection, which changes nothing where it is
there. A user without that right (docs/operate/security.md) is refused, and from then on only looks
whether `hitl prepare` has declared what its own program needs, and whether RabbitMQ still holds it
to its routing keys: 4.3 forgets these with a deleted exchange, and then lets everybody send
everything. Runs on the broker's I/O thread.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain

from pika.channel import Channel

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.rights import Rights
from shared.messaging.rights_probe import check_keys
from shared.messaging.steps import (
    REFUSED,
    Procedure,
    Step,
    Steps,
    declare_queue,
    exchange_look,
    look_for,
    one_look,
    queue_look,
)
from shared.topology import QUEUES, Queue, Topology

logger = logging.getLogger(__name__)

Refused = Mapping[str, HitlError]
"""Workflow → why the broker does not give it its queues."""


class _MayNotDeclare(Exception):
    """The broker refuses what all workflows share."""


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

    def begin(self) -> Procedure[Refused]:
        """Declares all of it, or looks for it. The workflows whose queues the broker refuses or
        lacks: each is tried on a channel of its own, and harms no other.

        Raises:
            Overloaded: that is so of what all of them share.
        """
        if self._may_declare:
            try:
                return (yield from self._declare())
            except _MayNotDeclare:
                self._may_declare = False
        return (yield from self._look())

    def _declare(self) -> Procedure[Refused]:
        to_bind = self.topology
        refused: dict[str, HitlError] = {}
        yield from _allowed(partial(_declare_queues, self.topology.queues_of(None)))
        for name in self.topology.workflows:
            refusal = yield partial(_declare_queues, self.topology.queues_of(name))
            if refusal is not None and refusal.reply_code == REFUSED:  # it may be there already
                to_bind = to_bind.without([name])
                yield from self._look_for(name, refused)
            elif refusal is not None:
                refused[name] = ConfigurationError(
                    f"{refusal.reply_text}; the queue exists with other properties than this"
                    " release declares: move its messages elsewhere, then delete it"
                )
        yield from _allowed(partial(_bind, to_bind.without(refused)))
        yield from self._streams()
        return refused

    def _look(self) -> Procedure[Refused]:
        own = self._own
        refused: dict[str, HitlError] = {}
        yield from look_for(
            chain(map(queue_look, own.queues_of(None)), map(exchange_look, own.exchanges))
        )
        for name in own.workflows:
            yield from self._look_for(name, refused)
        yield from self._streams()
        yield from self.check_rights()
        return refused

    def _look_for(self, workflow: str, refused: dict[str, HitlError]) -> Procedure[None]:
        """Whether one workflow's queues are there: else it is `refused`."""
        try:
            yield from look_for(map(queue_look, self._own.queues_of(workflow)))
        except Overloaded as missing:
            refused[workflow] = missing

    def check_rights(self) -> Procedure[None]:
        """As `check_keys`, where there is anything to hold this user to: one that may declare is
        the owner, or one for all, and may send everything."""
        own = () if self._may_declare or self._rights is None else sorted(self._rights.keys)
        return check_keys(own)

    def _streams(self) -> Procedure[None]:
        """Each on a channel of its own, which a stream that does not recover may end."""
        steps = declare_stream if self._may_declare else one_look
        for stream in (self.topology if self._may_declare else self._own).streams:
            refusal = yield partial(steps, stream)
            if refusal is not None:
                logger.warning("a stream is not available", extra={"problem": str(refusal)})


def _allowed(steps: Steps) -> Procedure[None]:
    """These steps, none of which may be refused."""
    refusal = yield steps
    if refusal is not None:
        if refusal.reply_code == REFUSED:
            raise _MayNotDeclare
        raise Overloaded(f"channel closed by the broker: {refusal}")


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
    """The steps for a stream queue and its binding."""
    yield declare_queue(channel, stream)
    yield partial(channel.queue_bind, stream.name, QUEUES, routing_key=stream.name)
