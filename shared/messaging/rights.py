"""Rights on RabbitMQ: one user a program, each with what its code does and no more.

Regular expressions over the names of queues and exchanges (RabbitMQ: "Access Control"), and over
routing keys ("Topic Authorisation"). No workflow is named, so a new one needs no new right. Only
the owner, who runs `hitl prepare` and the command line, may declare, bind and delete.

RabbitMQ 4.3 answers a question about a queue only to who has some right on it. So a user may
`write` to the queues that its messages must reach, which on these queues allows nothing else: to
bind one takes `read` on an exchange, and nobody but the owner has that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.topology import EVENTS, ITEMS, LOG_QUEUE, POLICY_STREAM, QUEUES, ROUTER_QUEUE, Topology

OWNER = VHOST = "hitl"
NOTHING = "^$"
_FLOW = r"[^.]+"  # a workflow's name


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do. `keys`: by topic exchange, the routing keys that it may send with;
    an exchange that is not named there cannot be written to. `reaches`: the queues that what it
    sends must get to, without those of `keys`."""

    takes: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    reaches: Sequence[str] = ()
    tags: str = ""
    all: bool = False

    @property
    def read(self) -> str:
        """The queues."""
        return _any_of(self.takes)

    @property
    def write(self) -> str:
        """The exchanges, and the queues that its messages must reach."""
        by_name = [self.keys[QUEUES].strip("^$")] if QUEUES in self.keys else []
        return _any_of([*map(_literal, sorted(self.keys)), *self.reaches, *by_name])

    def part_of(self, drawn: Topology) -> Topology:
        """What of a topology this user has any right on, and so can look for."""

        def mine(name: str) -> bool:
            return any(re.search(right, name) for right in (self.read, self.write))

        return Topology(
            exchanges=tuple(one for one in drawn.exchanges if mine(one.name)),
            queues=tuple(one for one in drawn.queues if mine(one.name)),
            bindings=(),
            streams=tuple(one for one in drawn.streams if mine(one.name)),
        )


def _any_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"^{names[0]}$"
    return f"^({'|'.join(names)})$" if names else NOTHING


def _literal(name: str) -> str:
    return name.replace(".", r"\.")


def _of_each(kind: str) -> str:
    return rf"hitl\.{_FLOW}\.{kind}"


def _events(*kinds: str) -> str:
    return rf"^item\.({'|'.join(kinds)})\.{_FLOW}$"


def _aside(queue: str) -> str:
    """Retries and dead letters of this queue."""
    return rf"^{queue}\.(dlq|retry\.\d+s)$"


_INFERENCE, _REVIEW, _ACCEPTED = _of_each("inference"), _of_each("review"), _of_each("accepted")
_HIGHLIGHTS = _of_each("highlights")
_LOG, _ROUTER, _POLICY = map(_literal, (LOG_QUEUE, ROUTER_QUEUE, POLICY_STREAM))

USERS: Mapping[str, Rights] = {
    OWNER: Rights(tags="administrator", all=True),
    "inference": Rights(
        takes=(_INFERENCE, _HIGHLIGHTS),
        keys={
            EVENTS: _events("scored", "explained", "shadow_scored", "failed"),
            QUEUES: _aside(_INFERENCE),
        },
        reaches=(_ROUTER, _REVIEW, _LOG),
    ),
    "router": Rights(
        takes=(_ROUTER, _POLICY),
        keys={EVENTS: _events("accepted", "review_requested", "failed"), QUEUES: _aside(_ROUTER)},
        reaches=(_ACCEPTED, _REVIEW, _HIGHLIGHTS, _LOG),
    ),
    "review_ui": Rights(
        takes=(_REVIEW,),
        keys={ITEMS: rf"^{_FLOW}$", EVENTS: _events("reviewed", "failed"), QUEUES: _aside(_REVIEW)},
        reaches=(_INFERENCE, _ACCEPTED, _LOG),
    ),
    "logger": Rights(takes=(_LOG,), keys={EVENTS: _events("failed"), QUEUES: _aside(_LOG)}),
    "feedback": Rights(keys={QUEUES: f"^{_POLICY}$"}),
    "producer": Rights(keys={ITEMS: f"^{_FLOW}$"}),
    "downstream": Rights(takes=(_ACCEPTED,)),
    "monitoring": Rights(tags="monitoring"),  # the management API's figures, and no message
}
