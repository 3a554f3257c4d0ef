"""The servers that tests run against: a private RabbitMQ and Postgres, started once by each worker.

Each test gets a virtual host or a database of its own. Where the servers are not installed, the
tests that need them are skipped with a reason; in CI they fail.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import psycopg2
import pytest
from hypothesis import HealthCheck, settings
from psycopg2 import sql
from sqlalchemy import Engine
from xdist.scheduler import LoadFileScheduling

from hitl.access.broker_users import OWNER, TUNABLES
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.private import ServerError
from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.storage.database import connect
from shared.storage.migration import migrate

TEMPLATE = "template_migrated"
SHARED_PIPELINE = "/one_pipeline/"

# A busy machine is no failure: pytest's own time limit guards what hypothesis runs.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--screenshots FOLDER`: where tests/browser puts its pictures; `--soak`: larger numbers;
    `--containers FOLDER`: docker-compose.yml in an engine whose images stay in that folder;
    `--spacy FOLDER`: the example on spaCy, whose packages stay in that folder."""
    parser.addoption("--screenshots", metavar="FOLDER", help="keep the pictures of the pages here")
    parser.addoption("--soak", action="store_true", help="20 000 items where 5 000 are enough")
    parser.addoption("--containers", metavar="FOLDER", help="run docker-compose.yml; 10 GB there")
    parser.addoption("--spacy", metavar="FOLDER", help="run the example on spaCy; 200 MB there")
    parser.addoption("--chaos-minutes", type=float, default=10.0, help="how long with --soak")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile`, but that the files which share a pipeline stay together as one would."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = LoadFileScheduling(config, log)

    def unit_of(nodeid: str) -> str:
        return nodeid.partition("::" if SHARED_PIPELINE not in nodeid else SHARED_PIPELINE)[0]

    scheduler._split_scope = unit_of
    return scheduler


def cannot_run(reason: str) -> NoReturn:
    """Skip on a developer's machine, fail in CI: a green run there must have run everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have this: {reason}")
    pytest.skip(reason)


@contextmanager
def started(*servers: PrivateRabbitMQ | PrivatePostgres, installed: bool = False) -> Iterator[None]:
    """These servers, ready, for the length of the block; stopped at its end.

    One that cannot start is taken for one that is not here, unless the caller knows better
    (`installed`): its refusal is then the test's failure.
    """
    try:
        try:
            for server in servers:
                server.start()
        except ServerError as error:
            if installed:
                raise
            cannot_run(str(error))
        for server in servers:
            server.wait_ready()
        yield
    finally:
        for server in reversed(servers):
            server.stop()


@dataclass(frozen=True)
class RabbitMQ:
    """The session's broker; for a virtual host of its own a test takes the fixture `amqp_url`."""

    server: PrivateRabbitMQ
    api: httpx.Client

    @property
    def amqp_url(self) -> str:
        """The broker with its own virtual host, `hitl`."""
        return self.server.amqp_url

    @property
    def api_url(self) -> str:
        """The management API with user and password."""
        return self.server.api_url

    def url_of(self, vhost: str) -> str:
        """The address of one virtual host."""
        return f"{self.server.amqp_url.rpartition('/')[0]}/{vhost}"


@dataclass(frozen=True)
class Postgres:
    """The session's database server, with one migrated database to copy from."""

    server: PrivatePostgres

    def url_of(self, database: str) -> str:
        """The address of one database."""
        return f"{self.server.database_url.rpartition('/')[0]}/{database}"

    def run(self, statement: sql.Composed) -> None:
        """Run one statement outside any transaction."""
        connection = psycopg2.connect(self.url_of("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """The folder of the session's servers: pytest's own are closed to the Postgres user."""
    with tempfile.TemporaryDirectory(prefix="hitl-tests-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        yield home


@pytest.fixture(scope="session")
def rabbitmq(server_home: Path) -> Iterator[RabbitMQ]:
    """A private RabbitMQ node with the management API, for the whole session."""
    node = PrivateRabbitMQ(server_home / "rabbitmq", server_home / "rabbitmq.log", fast=True)
    with started(node), httpx.Client(base_url=node.api_url, timeout=10) as api:
        yield RabbitMQ(node, api)


@contextmanager
def fresh_vhost(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A virtual host with the tunables policy, deleted afterwards with all that is in it."""
    vhost = f"test-{secrets.token_hex(4)}"
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    tunables = {key: value for key, value in TUNABLES.items() if key != "name"}
    for path, body in (
        (f"/vhosts/{vhost}", {}),
        (f"/permissions/{vhost}/{OWNER}", rights),
        (f"/policies/{vhost}/{TUNABLES['name']}", tunables),
    ):
        rabbitmq.api.put(path, json=body).raise_for_status()
    yield rabbitmq.url_of(vhost)
    rabbitmq.api.delete(f"/vhosts/{vhost}").raise_for_status()


@pytest.fixture
def amqp_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """A fresh virtual host."""
    with fresh_vhost(rabbitmq) as url:
        yield url


@pytest.fixture
def node() -> Iterator[PrivateRabbitMQ]:
    """A broker of the test's own, to be hurt."""
    with tempfile.TemporaryDirectory(prefix="hitl-node-", ignore_cleanup_errors=True) as folder:
        node = PrivateRabbitMQ(Path(folder) / "rabbitmq", Path(folder) / "log", fast=True)
        with started(node):
            yield node


@pytest.fixture(scope="session")
def postgres(server_home: Path) -> Iterator[Postgres]:
    """A private Postgres cluster for the whole session."""
    cluster = PrivatePostgres(server_home / "postgres", server_home / "postgres.log", fast=True)
    with started(cluster):
        yield Postgres(cluster)


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with this project's tables, to make others from by a file copy."""
    postgres.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(postgres.url_of(TEMPLATE))
    return TEMPLATE


@contextmanager
def fresh_database(postgres: Postgres, migrated: str) -> Iterator[str]:
    """A database with this project's tables, dropped afterwards."""
    name = f"test_{secrets.token_hex(4)}"
    postgres.run(
        sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
            sql.Identifier(name), sql.Identifier(migrated)
        )
    )
    yield postgres.url_of(name)
    # FORCE: a test that has failed may have left a connection open.
    postgres.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    """A fresh database with this project's tables."""
    with fresh_database(postgres, migrated) as url:
        yield url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to the test's database, enough for tests with many threads."""
    engine = connect(database_url, pool_size=20)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def module_database_url(postgres: Postgres, migrated: str) -> Iterator[str]:
    """The same for all tests of one file, where each keeps to names of its own."""
    with fresh_database(postgres, migrated) as url:
        yield url
