"""Who may do what on RabbitMQ? One user a program, each with what its code does and no more.

Regular expressions over the names of queues and exchanges (RabbitMQ: "Access Control"), and over
routing keys ("Topic Authorisation"). No workflow is named, so a new one needs no new right. Only
the owner, who runs `hitl prepare` and the command line, may declare, bind and delete.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.topology import EVENTS, ITEMS, POLICY_STREAM, QUEUES, unbound

OWNER = VHOST = "hitl"
NOTHING = "^$"
_FLOW = r"[^.]+"  # a workflow's name

# Safety is in the queues' arguments; what an operator may tune is here. The stream of policies is
# left out: a stream has no deliveries to limit. So are dead letters: the lower limit counts, and
# whoever looks at one would use it up. The worker's own guard is stricter.
TUNABLES = {
    "name": "hitl-tunables",
    "pattern": r"^hitl\.(?!policy$|unroutable$|.*\.dlq$)",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"delivery-limit": 20},
}


@dataclass(frozen=True, slots=True)
class Rights:
    """What one user may do. `keys`: by topic exchange, the routing keys that it may send with;
    an exchange that is not named there cannot be written to."""

    read: str = NOTHING
    keys: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""
    all: bool = False

    @property
    def write(self) -> str:
        """The exchanges."""
        return f"^({'|'.join(map(_literal, sorted(self.keys)))})$" if self.keys else NOTHING


def _literal(name: str) -> str:
    return name.replace(".", r"\.")


def _events(*kinds: str) -> str:
    return rf"^item\.({'|'.join(kinds)})\.{_FLOW}$"


def _aside(queue: str) -> str:
    """Retries and dead letters of this queue."""
    return rf"^{queue}\.(dlq|retry\.\d+s)$"


USERS: Mapping[str, Rights] = {
    OWNER: Rights(tags="administrator", all=True),
    "inference": Rights(
        read=rf"^hitl\.{_FLOW}\.(inference|highlights)$",
        keys={
            EVENTS: _events("scored", "explained", "shadow_scored", "failed"),
            QUEUES: _aside(rf"hitl\.{_FLOW}\.inference"),
        },
    ),
    "router": Rights(
        read=r"^hitl\.(router|policy)$",
        keys={
            EVENTS: _events("accepted", "review_requested", "failed"),
            QUEUES: _aside(r"hitl\.router"),
        },
    ),
    "review_ui": Rights(
        read=rf"^hitl\.{_FLOW}\.review$",
        keys={
            ITEMS: rf"^{_FLOW}$",
            EVENTS: _events("reviewed", "failed"),
            QUEUES: _aside(rf"hitl\.{_FLOW}\.review"),
        },
    ),
    "logger": Rights(
        read=r"^hitl\.log$",
        keys={EVENTS: _events("failed"), QUEUES: _aside(r"hitl\.log")},
    ),
    "feedback": Rights(keys={QUEUES: f"^{_literal(POLICY_STREAM)}$"}),
    "producer": Rights(keys={ITEMS: f"^{_FLOW}$"}),
    "downstream": Rights(read=rf"^hitl\.{_FLOW}\.accepted$"),
    "monitoring": Rights(tags="monitoring"),  # the management API's figures, and no message
}


def definitions(passwords: Mapping[str, str], vhost: str = VHOST) -> dict[str, object]:
    """What RabbitMQ imports (its "Definition Export and Import"): the virtual host, its tunables,
    and every user that a password is given for. Without a `guest`: RabbitMQ makes none beside
    these. The exchanges are in it because RabbitMQ 4.3 keeps a user's routing keys with their
    exchange, and starts with no rights at all where that is missing."""
    return {
        "vhosts": [{"name": vhost}],
        "policies": [{"vhost": vhost, **TUNABLES}],
        **exchanges(vhost),
        "users": [
            {
                "name": name,
                "password_hash": password_hash(passwords[name]),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": USERS[name].tags,
            }
            for name in passwords
        ],
        "permissions": [{"user": name, "vhost": vhost, **permissions(name)} for name in passwords],
        "topic_permissions": [
            {"user": name, "vhost": vhost, **topic} for name in passwords for topic in topics(name)
        ],
    }


def exchanges(vhost: str = VHOST) -> dict[str, object]:
    """Every exchange, and where that of the items leads what no queue is bound for yet: an item
    that comes before `hitl prepare` is set aside, and not lost."""
    drawn = unbound()
    return {
        "exchanges": [
            {
                "vhost": vhost,
                "name": exchange.name,
                "type": exchange.kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange.arguments,
            }
            for exchange in drawn.exchanges
        ],
        "queues": [
            {
                "vhost": vhost,
                "name": queue.name,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.arguments,
            }
            for queue in drawn.queues
        ],
        "bindings": [
            {
                "vhost": vhost,
                "source": binding.exchange,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.routing_key,
                "arguments": {},
            }
            for binding in drawn.bindings
        ],
    }


def permissions(name: str) -> dict[str, str]:
    """What a user may configure, write and read in the virtual host."""
    rights = USERS[name]
    if rights.all:
        return {"configure": ".*", "write": ".*", "read": ".*"}
    return {"configure": NOTHING, "write": rights.write, "read": rights.read}


def topics(name: str) -> list[dict[str, str]]:
    """By which routing keys a user may send. Who may not bind reads nothing by them."""
    return [
        {"exchange": exchange, "write": keys, "read": NOTHING}
        for exchange, keys in sorted(USERS[name].keys.items())
    ]


def password_hash(password: str) -> str:
    """RabbitMQ's salted SHA-256 (its "Passwords" page: base64 of salt and digest)."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
