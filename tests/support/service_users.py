"""For each program a user of its own, in RabbitMQ and in Postgres, as compose and `bin/up` do."""

from urllib.parse import urlsplit

from hitl.access.broker_users import USERS, definitions
from hitl.access.database_roles import RIGHTS, set_rights, url_of
from tests.conftest import RabbitMQ

PASSWORD = "one for all roles"


def broker_users(rabbitmq: RabbitMQ, amqp_url: str) -> dict[str, str]:
    """Gives every user its rights in the test's virtual host; where each connects."""
    vhost = urlsplit(amqp_url).path[1:]
    passwords = {name: rabbitmq.server.password_of(name) for name in USERS}
    imported = rabbitmq.api.post("/definitions", json=definitions(passwords, vhost))
    imported.raise_for_status()
    return {name: f"{rabbitmq.server.url_of(name).rpartition('/')[0]}/{vhost}" for name in USERS}


def own_addresses(
    rabbitmq: RabbitMQ, amqp_url: str, database_url: str
) -> dict[str, dict[str, str]]:
    """By program, its environment: a user of RabbitMQ and a role in Postgres, where it has them."""
    set_rights(database_url, dict.fromkeys(RIGHTS, PASSWORD))
    own = {name: {"AMQP_URL": url} for name, url in broker_users(rabbitmq, amqp_url).items()}
    for name, addresses in own.items():
        role = f"hitl_{name}"
        known = role in RIGHTS
        addresses["DATABASE_URL"] = url_of(database_url, role, PASSWORD) if known else ""
    return own
