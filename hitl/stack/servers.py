"""The RabbitMQ and Postgres of a stack: private ones, or those that the environment names."""

from collections.abc import Mapping
from dataclasses import dataclass

from hitl.access.database_roles import RIGHTS
from hitl.servers.home import Home
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.private import PrivateServer
from hitl.servers.rabbitmq import PrivateRabbitMQ
from hitl.support.connection import given, given_api_url


@dataclass
class Servers:
    """Addresses, and the private servers behind them where there are any."""

    home: Home
    given_amqp_url: str
    given_database_url: str
    given_api_url: str | None
    rabbitmq: PrivateRabbitMQ | None
    postgres: PrivatePostgres | None

    @classmethod
    def from_environment(cls, home: Home, environment: Mapping[str, str]) -> "Servers":
        """AMQP_URL and DATABASE_URL where they are set, private servers where they are not."""
        amqp_url = given("AMQP_URL", environment)
        database_url = given("DATABASE_URL", environment)
        return cls(
            home,
            amqp_url,
            database_url,
            given_api_url(environment),
            None if amqp_url else PrivateRabbitMQ(home.path / "rabbitmq", home.log("rabbitmq")),
            None if database_url else PrivatePostgres(home.path / "postgres", home.log("postgres")),
        )

    @property
    def amqp_url(self) -> str:
        """RabbitMQ's address for its owner."""
        return self.rabbitmq.amqp_url if self.rabbitmq else self.given_amqp_url

    @property
    def api_url(self) -> str | None:
        """RabbitMQ's management API, with user and password; None where it is not known."""
        return self.rabbitmq.api_url if self.rabbitmq else self.given_api_url

    @property
    def database_url(self) -> str:
        """The database's address for its owner."""
        return self.postgres.database_url if self.postgres else self.given_database_url

    def addresses_for(self, program: str) -> dict[str, str]:
        """The environment variables of one program: on private servers it has a user of its own,
        with its own rights; on given ones the user that the addresses name."""
        role = f"hitl_{program}"
        database_url = self.given_database_url
        if self.postgres:
            database_url = self.postgres.url_of(role) if role in RIGHTS else ""
        return {
            "AMQP_URL": self.rabbitmq.url_of(program) if self.rabbitmq else self.given_amqp_url,
            "DATABASE_URL": database_url,
        }

    def private(self) -> list[PrivateServer]:
        """The private servers, in the order in which they stop."""
        return [server for server in (self.postgres, self.rabbitmq) if server is not None]
