"""Where do the passwords of a new stack come from? Each is made at random at the first start.

They lie in volumes of their own, so that a container mounts only those that it needs. A file in
capitals becomes the variable of that name (see `start`); the others are for the servers.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

USER = "hitl"  # on both servers; also the virtual host and the database
# Postgres and RabbitMQ read theirs as users of their own, whose numbers are theirs to choose.
READABLE = 0o444


def keep(path: Path, text: str) -> str:
    """What the file says; if there is none, it says `text` from now on."""
    if not path.exists():
        write(path, text)
    return path.read_text()


def write(path: Path, text: str) -> None:
    """Write a file that is never seen half-written."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(READABLE)
    draft.replace(path)


def password_hash(password: str) -> str:
    """RabbitMQ's salted SHA-256 (https://www.rabbitmq.com/docs/passwords)."""
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def make(root: Path, definitions: Path) -> None:
    """Write what is missing below `root`; the broker's definitions always, with its user added."""
    broker, database = root / "broker", root / "database"
    broker_password = keep(broker / "password", secrets.token_urlsafe(24))
    write(broker / "AMQP_URL", f"amqp://{USER}:{broker_password}@rabbitmq:5672/{USER}")
    user = {
        "name": USER,
        "password_hash": password_hash(broker_password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "administrator",
    }
    known = json.loads(definitions.read_text())
    write(broker / "definitions.json", json.dumps({**known, "users": [user]}, indent=1))

    database_password = keep(database / "password", secrets.token_urlsafe(24))
    address = f"postgresql://{USER}:{database_password}@postgres:5432/{USER}"
    write(database / "DATABASE_URL", address)

    keep(root / "review" / "HITL_SESSION_SECRET", secrets.token_urlsafe(24))
    keep(root / "router" / "HITL_PANEL_SALT", secrets.token_urlsafe(24))


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
