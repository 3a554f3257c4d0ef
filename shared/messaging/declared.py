"""What of the topology this program has on the broker: declared, refused, added while it runs.

A workflow whose queues RabbitMQ refuses is left out, on later connections as well, until somebody
adds it again; the others go on. Runs on the I/O thread.
"""

from collections.abc import Callable, Container, Sequence

from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.declare import Declarations
from shared.messaging.rights import Rights
from shared.messaging.rights_probe import forbidden_queue, try_taking
from shared.messaging.steps import Procedure
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

    def begin(self, leave_out: Callable[[Container[str]], None]) -> Procedure[None]:
        """Declares all of it on a new connection; `leave_out` gets the queues of what is refused.

        Raises:
            Overloaded: that is so of what all workflows share.
        """
        declarations = self._declarations
        if declarations is None:
            return
        topology = declarations.topology
        found = yield from declarations.begin()
        refused = {**self._tried_in_vain(topology), **found}
        if refused and self._refuse is None:
            raise Overloaded("; ".join(map(str, refused.values())))
        self._declarations = declarations.with_the_same_rights(topology.without(refused))
        self.lacking |= set(refused)
        for name, why in refused.items():
            leave_out([queue.name for queue in topology.queues_of(name)])
            if self._refuse is not None:
                self._refuse(name, why)

    def add(
        self, topology: Topology, queues: Sequence[str], take: Callable[[Sequence[str]], bool]
    ) -> Procedure[None]:
        """Declares `topology` beside the one so far, then has `queues` taken from by `take`, which
        says whether it could.

        Raises:
            Overloaded: something is missing that somebody may yet declare, or consuming is paused.
            ConfigurationError: a queue is there, and is another, or one that we may not take from.
        """
        before = self._declarations
        added = (
            Declarations(topology, self._rights)
            if before is None
            else before.with_the_same_rights(topology)
        )
        try:
            refused = yield from added.begin()
        except Overloaded as error:
            raise Overloaded(f"RabbitMQ: {error}") from None
        for why in refused.values():
            raise why
        for queue in [queue for queue in queues if queue in self._forbidden]:
            # Apart: on the channel of the deliveries a refusal would end all of them.
            if (why_not := (yield from try_taking(queue))) is not None:
                raise ConfigurationError(why_not)
            del self._forbidden[queue]
        known = self._declarations
        whole = topology if known is None else known.topology.joined(topology)
        self._declarations = added.with_the_same_rights(whole)
        self.lacking -= set(topology.workflows)
        if not take(queues):
            raise Overloaded("RabbitMQ: consuming is paused")

    def forbid(self, reason: BaseException) -> None:
        """Notes the queue, if any, that a channel ended for because we may not take from it."""
        if (queue := forbidden_queue(reason)) is not None:
            self._forbidden[queue] = ConfigurationError(str(reason))

    def check_rights(self) -> Procedure[None]:
        """As `Declarations.check_rights`."""
        if self._declarations is not None:
            yield from self._declarations.check_rights()

    def _tried_in_vain(self, topology: Topology) -> dict[str, HitlError]:
        """The workflows of which we know that we may not take from one of their queues."""
        owners = {queue.name: queue.workflow for queue in topology.queues}
        known = ((owners.get(queue), why) for queue, why in self._forbidden.items())
        return {owner: why for owner, why in known if owner is not None}
