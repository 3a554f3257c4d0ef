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

# Safety is in the queues' arguments; what an operator may tune is here. Not for the policy stream,
# which has no deliveries to limit, nor for dead-letter queues: each look at a message there counts
# as a delivery, and would use the limit up. The worker's own guard is stricter.
TUNABLES = {
    "name": "hitl-tunables",
    "pattern": r"^hitl\.(?!policy$|unroutable$|.*\.dlq$)",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"delivery-limit": 20},
}

# A stream is truncated by whole segments, by default of 500 MB: `hitl.policy` (at most 100 MB,
# shared/topology.py) would grow to five times that. As a policy and not as an argument, because an
# existing stream with other arguments cannot be declared (406).
STREAMS = {
    "name": "hitl-streams",
    "pattern": r"^hitl\.policy$",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"stream-max-segment-size-bytes": POLICY_STREAM_BYTES // 10},
}


def definitions(passwords: Mapping[str, str], vhost: str = VHOST) -> dict[str, object]:
    """Definitions to import (RabbitMQ: "Definition Export and Import"): the virtual host, its
    policies, and every user with a password; RabbitMQ then creates no `guest`. The exchanges are
    included because RabbitMQ 4.3 keeps a user's routing keys with their exchange, and starts
    without any rights where that is missing."""
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


def exchanges(vhost: str) -> dict[str, object]:
    """Every exchange, and the queue of unroutable items: an item that is published before `hitl
    prepare` is kept there, and not lost."""
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
    """A user's rights in the virtual host: configure, write, read."""
    rights = USERS[name]
    if rights.all:
        return {"configure": ".*", "write": ".*", "read": ".*"}
    return {"configure": NOTHING, "write": rights.write, "read": rights.read}


def topics(name: str) -> list[dict[str, str]]:
    """The routing keys that a user may publish with; none to read with: no service may bind."""
    return [
        {"exchange": exchange, "write": keys, "read": NOTHING}
        for exchange, keys in sorted(USERS[name].keys.items())
    ]


def password_hash(password: str) -> str:
    """RabbitMQ's salted SHA-256 (its "Passwords" page: base64 of salt and digest)."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def passwords_in(folder: Path, names: Collection[str]) -> dict[str, str]:
    """The password in each file, by the file's name.

    Raises:
        ConfigurationError: the folder cannot be read, or a file has another name than these.
    """
    try:
        # A secret that Kubernetes mounts has links that begin with a dot.
        files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
        found = {file.name: file.read_text().strip() for file in files}
    except OSError as error:
        raise ConfigurationError(f"cannot read the passwords: {error}") from None
    if unknown := sorted(found.keys() - set(names)):
        raise ConfigurationError(f"{folder}: unknown user or role: {', '.join(unknown)}")
    return found
