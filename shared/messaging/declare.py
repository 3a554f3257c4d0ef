"""How does the topology get onto the broker, or who says that it is missing?

Whoever may configure declares all of it on every connection, which changes nothing where it is
there. A user without that right (docs/operate/security.md) is refused, and from then on only looks
whether `hitl prepare` has declared what its own program needs, and whether RabbitMQ still holds it
to its routing keys: 4.3 forgets these with a deleted exchange, and then lets everybody send
everything. Runs on the broker's I/O thread.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.rights import Rights
from shared.service.metrics import RIGHTS_LOST
from shared.topology import QUEUES, Exchange, Queue, Topology

logger = logging.getLogger(__name__)

_REFUSED = 403  # ACCESS_REFUSED
_PRECONDITION_FAILED = 406
# Nobody may send with this routing key (shared/messaging/rights.py), and nobody in this name:
# RabbitMQ (3.10 to 4.3) looks at the right first, then at the name, and routes a message only after
# both (https://www.rabbitmq.com/docs/validated-user-id).
FORBIDDEN_KEY = "nobody.may.send.this"
_NOBODY = "nobody"
_QUEUE_IN_TEXT = re.compile(r"queue '([^']+)'")
Step = Callable[..., object]
"""One request on a channel; takes `callback=`."""


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
                _in_turn(connection, partial(_bind, to_bind.without(refused)), bound)
            else:
                steps = partial(_declare_queues, topology.queues_of(name))
                _in_turn(connection, steps, partial(declared, name))

        def declared(name: str, refusal: ChannelClosedByBroker | None) -> None:
            nonlocal to_bind
            if refusal is not None and refusal.reply_code == _REFUSED:  # it may be there already
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
            if refusal.reply_code == _REFUSED:
                self._may_declare = False
                self.begin(connection, then, fail)
            else:
                fail(f"channel closed by the broker: {refusal}")
            return False

        _in_turn(connection, partial(_declare_queues, topology.queues_of(None)), shared)

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

        looks = chain(map(_queue_look, own.queues_of(None)), map(_exchange_look, own.exchanges))
        _look(connection, looks, next_workflow, fail)

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

        _look(connection, map(_queue_look, self._own.queues_of(workflow)), then, missing)

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
        exchanges = iter(own)

        def next_exchange() -> None:
            exchange = next(exchanges, None)
            if exchange is None:
                then()
            else:
                tried = partial(answered, exchange)
                _in_turn(connection, partial(_send_forbidden, exchange), tried)

        def answered(exchange: str, refusal: ChannelClosedByBroker | None) -> None:
            if refusal is not None and refusal.reply_code not in (_REFUSED, _PRECONDITION_FAILED):
                fail(_run_prepare(refusal))
                return
            held = refusal is not None and refusal.reply_code == _REFUSED
            RIGHTS_LOST.labels(exchange).set(not held)
            if held:
                next_exchange()
            else:
                fail(
                    f"RabbitMQ lets this user send anything to {exchange}: the rights to its"
                    " routing keys are gone (was it deleted?); run `hitl prepare`"
                )

        next_exchange()

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
                _in_turn(connection, partial(_declare_stream, stream), next_stream)
            else:
                _in_turn(connection, partial(_only, _queue_look(stream)), next_stream)

        next_stream()


def find_stream(connection: pika.SelectConnection, stream: Queue, then: Callable[[], None]) -> None:
    """Declares a stream where it is missing, if we may; then `then`, also where we may not."""

    def looked(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then()
        else:
            _in_turn(connection, partial(_declare_stream, stream), lambda _refusal: then())

    _in_turn(connection, partial(_only, _queue_look(stream)), looked)


def count_ready(
    connection: pika.SelectConnection,
    queues: Iterable[str],
    then: Callable[[Mapping[str, int]], None],
) -> None:
    """Then `then`, with the ready messages of each queue that is there and may be looked at."""
    names, found = iter(queues), dict[str, int]()

    def count(channel: Channel, name: str, callback: Callable[[], None]) -> None:
        def told(answer: Any) -> None:
            found[name] = answer.method.message_count
            callback()

        channel.queue_declare(name, passive=True, callback=told)

    def ended(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then(found)
        else:  # no such queue: its channel is gone, the connection is not
            ask()

    def ask() -> None:
        _in_turn(
            connection, lambda channel: (partial(count, channel, each) for each in names), ended
        )

    ask()


def try_taking(
    connection: pika.SelectConnection, queue: str, then: Callable[[str | None], None]
) -> None:
    """Then `then`, with why this user may not take from the queue; nothing is taken in any case.

    RabbitMQ looks at the right first, and only then at an argument that it can only refuse."""

    def tried(refusal: ChannelClosedByBroker | None) -> None:
        forbidden = refusal is not None and refusal.reply_code == _REFUSED
        then(refusal.reply_text if refusal is not None and forbidden else None)

    _in_turn(connection, partial(_take_wrongly, queue), tried)


def forbidden_queue(reason: BaseException) -> str | None:
    """The queue that this user may not use, where a channel ended for that."""
    if isinstance(reason, ChannelClosedByBroker) and reason.reply_code == _REFUSED:
        found = _QUEUE_IN_TEXT.search(reason.reply_text)
        return found[1] if found is not None else None
    return None


def _take_wrongly(queue: str, channel: Channel) -> Iterator[Step]:
    wrong = {"x-priority": "no number"}
    yield partial(channel.basic_consume, queue, lambda *_: None, arguments=wrong)


def _in_turn(
    connection: pika.SelectConnection,
    steps_on: Callable[[Channel], Iterator[Step]],
    ended: Callable[[ChannelClosedByBroker | None], None],
) -> None:
    """One step after the other on a channel of their own; `ended` with what the broker refused.
    Where the connection ends, nothing is called: it says so itself."""

    def opened(channel: Channel) -> None:
        channel.add_on_close_callback(closed)
        steps = steps_on(channel)

        def advance(_frame: object = None) -> None:
            step = next(steps, None)
            if step is None:
                channel.close()
            else:
                step(callback=advance)

        advance()

    def closed(channel: Channel, reason: BaseException) -> None:
        if channel.connection.is_open:
            ended(reason if isinstance(reason, ChannelClosedByBroker) else None)

    connection.channel(on_open_callback=opened)


def _declare_queues(queues: Iterable[Queue], channel: Channel) -> Iterator[Step]:
    return (_declared_queue(channel, queue) for queue in queues)


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


def _declare_stream(stream: Queue, channel: Channel) -> Iterator[Step]:
    yield _declared_queue(channel, stream)
    yield partial(channel.queue_bind, stream.name, QUEUES, routing_key=stream.name)


def _declared_queue(channel: Channel, queue: Queue) -> Step:
    return partial(channel.queue_declare, queue.name, durable=True, arguments=dict(queue.arguments))


Look = Callable[[Channel], Step]
"""A passive declaration; a binding cannot be asked for."""


def _queue_look(queue: Queue) -> Look:
    return lambda channel: partial(channel.queue_declare, queue.name, passive=True)


def _exchange_look(exchange: Exchange) -> Look:
    return lambda channel: partial(channel.exchange_declare, exchange.name, passive=True)


def _only(look: Look, channel: Channel) -> Iterator[Step]:
    yield look(channel)


def _look(
    connection: pika.SelectConnection,
    looks: Iterator[Look],
    then: Callable[[], None],
    fail: Callable[[str], None],
) -> None:
    """Whether all of it is there. Where this user may not know, which 4.3 answers to somebody who
    has no right at all on it, it is taken to be; only older rights than this release's say so."""

    def ended(refusal: ChannelClosedByBroker | None) -> None:
        if refusal is None:
            then()
        elif refusal.reply_code == _REFUSED:
            logger.info("cannot be looked for", extra={"problem": refusal.reply_text})
            _look(connection, looks, then, fail)
        else:
            fail(_run_prepare(refusal))

    _in_turn(connection, lambda channel: (look(channel) for look in looks), ended)


def _run_prepare(refusal: ChannelClosedByBroker) -> str:
    return f"{refusal.reply_text}; this user may not declare it: run `hitl prepare`"


def _wrongly_declared(refusal: ChannelClosedByBroker) -> ConfigurationError:
    return ConfigurationError(
        f"{refusal.reply_text}; RabbitMQ has it otherwise than this release declares it: move what"
        " lies in it, and delete it"
    )


def _send_forbidden(exchange: str, channel: Channel) -> Iterator[Step]:
    properties = pika.BasicProperties(user_id=_NOBODY)
    channel.basic_publish(exchange, FORBIDDEN_KEY, b"", properties)
    # Answered after it, should it ever be taken.
    yield partial(channel.exchange_declare, exchange, passive=True)
