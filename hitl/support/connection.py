"""The broker and the database that a command talks to.

AMQP_URL and DATABASE_URL where they or their files are named, else those of the stack that runs in
HITL_HOME.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from hitl.servers.home import Home
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.private import ServerError
from shared.addresses import ESCAPES, is_address
from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.connection import Broker
from shared.service.settings import Settings

CONNECT_SECONDS = 10.0


def amqp_url(environment: Mapping[str, str] = os.environ) -> str:
    """The broker's address.

    Raises:
        ConfigurationError: neither set nor known from a running stack.
    """
    return _address("AMQP_URL", environment)


def database_url(environment: Mapping[str, str] = os.environ) -> str:
    """The database's address.

    Raises:
        ConfigurationError: neither set nor known from a running stack.
    """
    return _address("DATABASE_URL", environment)


def api_url(environment: Mapping[str, str] = os.environ) -> str:
    """The management API of the broker, with user and password.

    Raises:
        ConfigurationError: neither set nor known from a running stack, or not an address.
    """
    return given_api_url(environment) or _address(
        "API_URL", environment, variable="HITL_RABBITMQ_API_URL"
    )


def given_api_url(environment: Mapping[str, str]) -> str | None:
    """HITL_RABBITMQ_API_URL; None where unset.

    Raises:
        ConfigurationError: it is not an address.
    """
    found = environment.get("HITL_RABBITMQ_API_URL", "").strip()
    if found and not (is_address(found, ("http", "https")) and urlsplit(found).hostname):
        raise ConfigurationError(
            "HITL_RABBITMQ_API_URL: not an address like http://USER:PASSWORD@HOST:15672/api; "
            f"{ESCAPES}"
        )
    return found or None


def given(key: str, environment: Mapping[str, str]) -> str:
    """AMQP_URL or DATABASE_URL as the services read it, from KEY_FILE, too; empty where unset.

    Raises:
        ConfigurationError: the environment has bad settings.
    """
    found = getattr(Settings.from_environment(environment), key.lower())
    return str(found.get_secret_value())


def _address(key: str, environment: Mapping[str, str], variable: str = "") -> str:
    if not variable and (address := given(key, environment)):
        return address
    home = Home.from_environment(environment)
    state = home.read_state() if home.supervisor() is not None else None
    found = "" if state is None else getattr(state, key.lower()) or ""
    if not found:
        raise ConfigurationError(
            f"no stack is running in {home.path}: start one with `hitl up`, or set"
            f" {variable or key}"
        )
    return str(found)


@contextmanager
def database_at_hand(*, may_make: bool = True) -> Iterator[tuple[str, bool]]:
    """The database's address, and whether it is the private one of a stopped stack: its server runs
    for the length of the block, with `may_make` on a new database where there is none.

    Raises:
        HitlError: that server cannot be started.
    """
    home = Home.from_environment(os.environ)
    usable = may_make or (home.path / "postgres" / "location").exists()
    if given("DATABASE_URL", os.environ) or home.supervisor() is not None or not usable:
        yield database_url(os.environ), False
        return
    server = PrivatePostgres(home.path / "postgres", home.log("postgres"))
    try:
        server.start()
        server.wait_ready()
        yield server.database_url, True
    except ServerError as error:
        raise HitlError(str(error)) from error
    finally:
        server.stop()


@contextmanager
def connected(amqp_url: str, name: str) -> Iterator[Broker]:
    """A connected broker for the length of the block; `name` is the connection's, for operators.

    Raises:
        Overloaded: the broker does not answer.
    """
    broker = Broker(amqp_url, name=name)
    broker.start()
    try:
        if not broker.wait_ready(CONNECT_SECONDS):
            raise Overloaded(f"RabbitMQ does not answer: {broker.problem()}")
        yield broker
    finally:
        broker.close()
