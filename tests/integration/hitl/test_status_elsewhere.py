"""What does `hitl status` say of a stack that was not started from here, as in containers?"""

import socket
from pathlib import Path

import pika
import pytest
from typer.testing import CliRunner

from hitl.commands.stack import app
from hitl.servers.rabbitmq import PrivateRabbitMQ
from hitl.support.queue_depths import declared_depths, queue_depths
from shared.messaging import session
from shared.messaging.connection import declare_all
from shared.topology import topology
from tests.conftest import started
from tests.support.amqp_client import outsider, until

NOBODY = "amqp://hitl:wrong@127.0.0.1:9/hitl"


def status(monkeypatch: pytest.MonkeyPatch, home: Path, amqp_url: str) -> tuple[int, str]:
    """Exit code and words of `hitl status` in a home where nothing was started."""
    monkeypatch.setenv("HITL_HOME", str(home))
    monkeypatch.setenv("AMQP_URL", amqp_url)
    done = CliRunner().invoke(app, ["status"], catch_exceptions=False)
    return done.exit_code, done.output


def test_the_flow_is_shown_and_nothing_is_said_of_services(
    amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a broker with the queues of a workflow / If I ask where no service runs / I expect the
    # numbers, and a word on who knows the rest.
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    code, said = status(monkeypatch, tmp_path, amqp_url)
    assert code == 0
    assert "waiting for a person" in said
    assert "docker compose ps" in said


def test_what_waits_is_named_and_what_nobody_knows_is_not_called_none(
    amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a message in a queue, and a database that does not answer
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    with outsider(amqp_url) as program:
        program.publish("{}", routing_key="nosuch")
    monkeypatch.setenv("DATABASE_URL", "postgresql://hitl:wrong@127.0.0.1:9/hitl")
    code, said = status(monkeypatch, tmp_path, amqp_url)
    # I expect the queue by its name, no number of items, and the reason
    assert code == 0
    assert "hitl.unroutable: 1 waiting" in said
    assert "postgres does not answer: connection to server" in said
    assert "│ ? │" in " ".join(said.split())
    assert "│ 0 │" not in " ".join(said.split())


def test_a_broker_that_takes_a_connection_and_says_nothing_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        session, "connection_parameters", lambda url, _name: pika.URLParameters(url)
    )
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"amqp://hitl:hitl@127.0.0.1:{mute.getsockname()[1]}/hitl?stack_timeout=1"
        assert declared_depths(address, ["hitl.log"]) == {}


def test_queues_that_are_not_there_do_not_hide_the_others(amqp_url: str) -> None:
    # Given a broker without a management API, and a message in a queue
    declare_all(amqp_url, topology(("sentiment",), (5,)))
    with outsider(amqp_url) as program:
        program.publish("{}", routing_key="nosuch")
    # If I ask for queues of which some are missing, the first and the last among them
    asked = ["hitl.no", "hitl.unroutable", "hitl.none", "hitl.log", "hitl.nowhere"]
    # I expect those that are there, and of the messages with a consumer that nothing is known
    depths = declared_depths(amqp_url, asked)
    assert set(depths) == {"hitl.unroutable", "hitl.log"}
    assert depths["hitl.unroutable"] == {"ready": 1, "unacked": None}
    assert declared_depths(amqp_url, []) == {}


def test_a_broker_that_does_not_answer_is_no_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = status(monkeypatch, tmp_path, NOBODY)
    assert code == 1
    assert "No stack is running" in said


class WithoutFigures(PrivateRabbitMQ):
    """A node whose management page collects none, as it will be one day."""

    def _write_files(self) -> dict[str, str]:
        environment = super()._write_files()
        with (self.home / "config" / "rabbitmq.conf").open("a") as configuration:
            configuration.write("management_agent.disable_metrics_collector = true\n")
        return environment


@pytest.mark.parametrize("kind", [PrivateRabbitMQ, WithoutFigures])
def test_what_waits_is_known_whether_or_not_the_management_page_collects_figures(
    kind: type[PrivateRabbitMQ], tmp_path: Path
) -> None:
    server = kind(tmp_path / "rabbitmq", tmp_path / "log", fast=True)
    with started(server), outsider(server.amqp_url) as program:
        # Given three items that nobody has bound a queue for, one of them with a reader
        for _ in range(3):
            program.publish("{}", routing_key="nosuch")
        program.hold("hitl.unroutable", 1)
        # If I ask by the management API, I expect two to wait and one to be held
        until(
            lambda: (
                queue_depths(server.amqp_url, server.api_url, [])["hitl.unroutable"]
                == {"ready": 2, "unacked": 1}
            )
        )
