"""Where do the passwords of a new stack come from? Each is made at random at the first start.

Every program has a volume of its own, with what it needs and no more. A file in capitals becomes
the variable of that name (see `start`); the others are for the servers and for people.
"""

import json
import os
import secrets
import sys
from pathlib import Path

from hitl.access.broker_users import OWNER, USERS, VHOST, definitions
from hitl.access.database_roles import RIGHTS

# Postgres and RabbitMQ read theirs as users of their own, whose numbers are theirs to choose.
READABLE = 0o444
# Program → the folder of its volume, its user of RabbitMQ, its role in Postgres.
PROGRAMS = {
    "owner": (OWNER, OWNER),
    "inference": ("inference", None),
    "router": ("router", None),
    "review": ("review_ui", "hitl_review_ui"),
    "logger": ("logger", "hitl_logger"),
    "feedback": ("feedback", "hitl_feedback"),
    "train": (None, "hitl_trainer"),
    "audit": (None, "hitl_auditor"),
    "producer": ("producer", None),
}
BY_PASSWORD = {"exporter": "hitl_exporter", "grafana": "hitl_grafana"}
CA = "/run/hitl/ca/ca.pem"  # where every client finds it, with TLS (deploy/compose.tls.yml)
AMQP = "amqp://{}:{}@rabbitmq:5672/{}"
AMQP_TLS = f"amqps://{{}}:{{}}@rabbitmq:5671/{{}}?cacertfile={CA}"
# What the owner asks of RabbitMQ's management page: it gives rights back that were lost.
API = "http://{}:{}@rabbitmq:15672/api"
API_TLS = f"https://{{}}:{{}}@rabbitmq:15671/api?cacertfile={CA}"
POSTGRES = "postgresql://{}:{}@postgres:5432/hitl"
POSTGRES_TLS = f"{POSTGRES}?sslmode=verify-full&sslrootcert={CA}"


def keep(path: Path) -> str:
    """What the file says; if there is none, a new random password from now on."""
    if not path.exists():
        write(path, secrets.token_urlsafe(24))
    return path.read_text()


def write(path: Path, text: str) -> None:
    """Write a file that is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text)
    draft.chmod(READABLE)
    draft.replace(path)


def make(root: Path, *, tls: bool) -> None:
    """Write what is missing below `root`; addresses and the broker's definitions always."""
    users = {user: keep(_of_user(root, user)) for user in USERS}
    write(root / "broker" / "definitions.json", json.dumps(definitions(users), indent=1))
    roles = {role: keep(root / "owner" / "roles" / role) for role in RIGHTS}
    roles[OWNER] = keep(root / "database" / "password")
    for folder, (user, role) in PROGRAMS.items():
        if user:
            address = (AMQP_TLS if tls else AMQP).format(user, users[user], VHOST)
            write(root / folder / "AMQP_URL", address)
        if role:
            address = (POSTGRES_TLS if tls else POSTGRES).format(role, roles[role])
            write(root / folder / "DATABASE_URL", address)
    api = API_TLS if tls else API
    write(root / "owner" / "HITL_RABBITMQ_API_URL", api.format(OWNER, users[OWNER]))
    for folder, role in BY_PASSWORD.items():
        write(root / folder / "password", roles[role])
    keep(root / "review" / "HITL_SESSION_SECRET")
    keep(root / "router" / "HITL_PANEL_SALT")


def _of_user(root: Path, user: str) -> Path:
    """`password` is the owner's; RabbitMQ's container has them all, for people to look up."""
    return root / "broker" / ("password" if user == OWNER else f"password-{user}")


if __name__ == "__main__":
    make(Path(sys.argv[1]), tls=os.environ.get("TLS") == "on")
