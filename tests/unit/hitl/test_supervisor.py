"""Does whoever watches the services give them the time to stop that they were told to take?"""

from pathlib import Path

import pytest

from hitl.servers.home import Home
from hitl.stack.supervisor import Supervisor


@pytest.mark.parametrize(("setting", "expected"), [("", 25.0), ("10", 25.0), ("60", 60.0)])
def test_a_longer_shutdown_is_not_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, expected: float
) -> None:
    # Given a time to stop in the settings / I expect no service to be killed before it is over,
    monkeypatch.setenv("HITL_SHUTDOWN_SECONDS", setting)
    supervisor = Supervisor(Home(tmp_path), demo=False)
    assert supervisor.grace_seconds() == expected
    # unless somebody asks twice.
    supervisor.stop_signals = 2
    assert supervisor.grace_seconds() == 0
