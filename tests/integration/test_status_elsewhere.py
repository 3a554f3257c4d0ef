"""What does `hitl status` say of a stack that was not started from here, as in containers?"""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hitl.stack import app
from shared.broker import declare_all
from shared.topology import topology

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


def test_a_broker_that_does_not_answer_is_no_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = status(monkeypatch, tmp_path, NOBODY)
    assert code == 1
    assert "No stack is running" in said
