"""What of the topology this program has on the broker: declared, refused, added while it runs.

A workflow whose queues RabbitMQ refuses is left out, on later connections as well, until somebody
adds it again; the others go on. Runs on the I/O thread.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import partial

import pika

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.declare import Declarations
from shared.messaging.rights import Rights
from shared.messaging.rights_probe import forbidden_queue, try_taking
from shared.topology import Topology

Refuse = Callable[[str, HitlError], object]
"""Takes a workflow, and why RabbitMQ does not give it its queues."""


class Declared:
    """The declarations of one connection after the other, and what was left out of them."""

    def __init__(
        self, topology: Topology | None, rights: Rights | None, refuse: Refuse | None
    ) -> None:
        self.lacking: frozenset[str] = frozenset()
        self._declarations = Declarations(topology, rights) if topology is not None else None
        self._rights = rights
        self._refuse = refuse
        # Queues that can be seen, and not be taken from: it shows only when we try.
        self._forbidden: dict[str, ConfigurationError] = {}

    def begin(
        self,
        connection: pika.SelectConnection,
        *,
        then: Callable[[], None],
        fail: Callable[[str], None],
        leave_out: Callable[[Container[str]], None],
    ) -> None:
        """Declares all of it on a new connection. Then `then`, after `leave_out` with the queues of
        what is refused; or `fail`, where that is so of what all workflows share."""
        declarations = self._declarations
        if declarations is None:
            then()
            return

        def declared(refused: Mapping[str, HitlError]) -> None:
            refused = {**self._tried_in_vain(declarations.topology), **refused}
            if refused and self._refuse is None:
                fail("; ".join(map(str, refused.values())))
                return
            topology = declarations.topology
            self._declarations = declarations.with_the_same_rights(topology.without(refused))
            self.lacking |= set(refused)
            for name, why in refused.items():
                leave_out([queue.name for queue in topology.queues_of(name)])
                if self._refuse is not None:
                    self._refuse(name, why)
            then()

        declarations.begin(connection, declared, fail)

    def add(
        self,
        connection: pika.SelectConnection,
        topology: Topology,
        queues: Sequence[str],
        *,
        take: Callable[[Sequence[str]], bool],
        tell: Callable[[HitlError | None], None],
    ) -> None:
        """Declares `topology` beside the one so far, then has `queues` taken from by `take`, which
        says whether it could; `tell` hears what came of it, None where all is well."""
        before = self._declarations
        added = (
            Declarations(topology, self._rights)
            if before is None
            else before.with_the_same_rights(topology)
        )

        def declared(refused: Mapping[str, HitlError]) -> None:
            if refused:
                tell(next(iter(refused.values())))
                return
            tried = next((queue for queue in queues if queue in self._forbidden), None)
            if tried is None:
                join()
            elif connection.is_open:
                # Apart: on the channel of the deliveries a refusal would end all of them.
                try_taking(connection, tried, partial(allowed, tried))

        def allowed(queue: str, why_not: str | None) -> None:
            if why_not is not None:
                tell(ConfigurationError(why_not))
                return
            del self._forbidden[queue]
            declared({})

        def join() -> None:
            known = self._declarations
            whole = topology if known is None else known.topology.joined(topology)
            self._declarations = added.with_the_same_rights(whole)
            self.lacking -= set(topology.workflows)
            tell(None if take(queues) else Overloaded("RabbitMQ: consuming is paused"))

        added.begin(connection, declared, lambda why: tell(Overloaded(f"RabbitMQ: {why}")))

    def forbid(self, reason: BaseException) -> None:
        """Notes the queue, if any, that a channel ended for because we may not take from it."""
        if (queue := forbidden_queue(reason)) is not None:
            self._forbidden[queue] = ConfigurationError(str(reason))

    def check_rights(
        self,
        connection: pika.SelectConnection,
        then: Callable[[], None],
        fail: Callable[[str], None],
    ) -> None:
        """Then `then`; or `fail`, where RabbitMQ no longer holds us to our rights."""
        if self._declarations is None:
            then()
        else:
            self._declarations.check_rights(connection, then, fail)

    def _tried_in_vain(self, topology: Topology) -> dict[str, HitlError]:
        """The workflows of which we know that we may not take from one of their queues."""
        owners = {queue.name: queue.workflow for queue in topology.queues}
        refused: dict[str, HitlError] = {}
        for queue, why in self._forbidden.items():
            if (owner := owners.get(queue)) is not None:
                refused = {owner: why, **refused}
        return refused
