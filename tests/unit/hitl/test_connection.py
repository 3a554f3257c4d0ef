"""Does the command line find the servers where the services find them, and say so if it cannot?"""

import getpass
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hitl.servers.home import Home, user_name
from hitl.servers.processes import escape_unencodable_output
from hitl.stack.servers import Servers
from hitl.support.connection import amqp_url, api_url, database_url
from shared.errors import ConfigurationError
from shared.release import ROOT
from shared.storage.database import connect


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
    with pytest.raises(ConfigurationError, match="`hitl up`, or set AMQP_URL"):
        amqp_url({"HITL_HOME": str(tmp_path)})
    missing = {"HITL_HOME": str(tmp_path), "AMQP_URL_FILE": str(tmp_path / "nothing")}
    with pytest.raises(ConfigurationError, match="AMQP_URL_FILE"):
        amqp_url(missing)


@pytest.mark.parametrize("address", ["nonsense", "http://[x", "http://h:99999/api", "amqp://h/v"])
def test_a_management_api_that_is_no_address_is_named(address: str, tmp_path: Path) -> None:
    environment = {"HITL_HOME": str(tmp_path), "HITL_RABBITMQ_API_URL": address}
    for asked in (api_url, lambda of: Servers.from_environment(Home(tmp_path), of)):
        with pytest.raises(ConfigurationError, match="HITL_RABBITMQ_API_URL: not an address like"):
            asked(environment)


@pytest.mark.parametrize("address", ["secret", "postgresql:secret", "postgresql://u@h:secret/db"])
def test_a_database_that_is_no_address_is_named_and_not_quoted(address: str) -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL: not an address like") as refused:
        connect(address)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("home", ["/proc/hitl", "/dev/null"])
def test_a_home_that_cannot_be_made_is_named(home: str) -> None:
    # If the stack is started in a folder that cannot be / I expect one line that says what to do.
    done = subprocess.run(
        [sys.executable, "-m", "hitl", "up", "--detach"],
        cwd=ROOT, env={**os.environ, "HITL_HOME": home}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert home in line
    assert line.endswith("Set HITL_HOME to a folder of yours.")


def test_what_the_locale_cannot_write_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given standard output of a locale without the ellipsis / If a program of ours prints one / I
    # expect its number instead.
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    escape_unencodable_output()
    print("Grüße \u2026", flush=True)
    assert written.getvalue() == b"Gr\xfc\xdfe \\u2026\n"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert user_name() == f"user {os.getuid()}"
