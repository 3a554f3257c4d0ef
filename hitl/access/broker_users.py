"""RabbitMQ's users and their rights (shared/messaging/rights.py) as definitions to import, and the
passwords in a folder."""

import base64
import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from shared.errors import ConfigurationError
from shared.messaging.rights import NOTHING, OWNER, USERS, VHOST
from shared.topology import POLICY_STREAM_BYTES, unbound

__all__ = ["OWNER", "STREAMS", "TUNABLES", "USERS", "VHOST", "definitions"]

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


# A stream is cut by whole segments, of 500 MB where nobody says: `hitl.policy` (at most 100 MB,
# shared/topology.py) would grow to five times that. As a policy and not as an argument, because a
# stream that is there with other arguments refuses to be declared (406).
STREAMS = {
    "name": "hitl-streams",
    "pattern": r"^hitl\.policy$",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"stream-max-segment-size-bytes": POLICY_STREAM_BYTES // 10},
}


def definitions(passwords: Mapping[str, str], vhost: str = VHOST) -> dict[str, object]:
    """What RabbitMQ imports (its "Definition Export and Import"): the virtual host, its tunables,
    and every user that a password is given for. Without a `guest`: RabbitMQ makes none beside
    these. The exchanges are in it because RabbitMQ 4.3 keeps a user's routing keys with their
    exchange, and starts with no rights at all where that is missing."""
    return {
        "vhosts": [{"name": vhost}],
        "policies": [{"vhost": vhost, **policy} for policy in (TUNABLES, STREAMS)],
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


def passwords_in(folder: Path, names: Collection[str]) -> dict[str, str]:
    """The password in each file, by its name.

    Raises:
        ConfigurationError: the folder cannot be read, or a file has none of these names.
    """
    try:
        # A secret that Kubernetes mounts has links that begin with a dot.
        files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
        found = {file.name: file.read_text().strip() for file in files}
    except OSError as error:
        raise ConfigurationError(f"no passwords: {error}") from None
    if unknown := sorted(found.keys() - set(names)):
        raise ConfigurationError(f"{folder}: nobody is called {', '.join(unknown)}")
    return found
