"""Does the command line find the servers where the services find them?"""

from pathlib import Path

import pytest

from hitl.connection import amqp_url, database_url
from hitl.home import Home
from hitl.servers import Servers
from shared.errors import ConfigurationError


def test_addresses_may_lie_in_files(tmp_path: Path) -> None:
    # Given the addresses of both servers in files, as secrets are mounted
    (tmp_path / "amqp").write_text("amqp://broker/hitl\n")
    (tmp_path / "database").write_text("postgresql://database/hitl\n")
    environment = {
        "HITL_HOME": str(tmp_path),
        "AMQP_URL_FILE": str(tmp_path / "amqp"),
        "DATABASE_URL_FILE": str(tmp_path / "database"),
    }
    # I expect every command to use them, and bin/up to start no servers of its own
    assert amqp_url(environment) == "amqp://broker/hitl"
    assert database_url(environment) == "postgresql://database/hitl"
    servers = Servers.from_environment(Home(tmp_path), environment)
    assert (servers.rabbitmq, servers.postgres) == (None, None)
    assert servers.amqp_url == "amqp://broker/hitl"


def test_without_an_address_or_a_stack_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="bin/up, or set AMQP_URL"):
        amqp_url({"HITL_HOME": str(tmp_path)})
    missing = {"HITL_HOME": str(tmp_path), "AMQP_URL_FILE": str(tmp_path / "nothing")}
    with pytest.raises(ConfigurationError, match="AMQP_URL_FILE"):
        amqp_url(missing)
