"""Does Prometheus learn by the nightly verification that the ledger is whole, or is not?"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from services.logger.handler import Logger
from shared.clock import utc_now
from tests.support.item_events import Journey, delivered

ROOT = Path(__file__).parents[3]
CRON = ROOT / "deploy" / "cron"


def verify(file: Path, url: str) -> subprocess.CompletedProcess[str]:
    """What cron starts, with this interpreter in place of bin/hitl's."""
    command = [sys.executable, "-m", "hitl", "audit", "verify"]
    return subprocess.run(
        [CRON / "verify-ledger", file, *command],
        env={**os.environ, "DATABASE_URL": url}, cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def shown(file: Path) -> dict[str, float]:
    found = re.findall(r"^(hitl_\w+) (\S+)$", file.read_text(), re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.fixture
def url(engine: Engine) -> str:
    """A database with a ledger of a few events."""
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    log.handle([delivered(event) for event in Journey("1").everything()[2:6]])
    return engine.url.render_as_string(hide_password=False)


def test_what_the_verification_finds_is_left_for_prometheus(
    engine: Engine, url: str, tmp_path: Path
) -> None:
    # Given a ledger / If it is verified / I expect it shown as whole, just now.
    file = tmp_path / "hitl_ledger.prom"
    assert verify(file, url).returncode == 0
    first = shown(file)
    assert first["hitl_ledger_whole"] == 1
    assert abs(first["hitl_ledger_verified_timestamp_seconds"] - time.time()) < 60
    # If the database is away / I expect nothing to be claimed: the file stays as it is.
    nobody = re.sub(r"@[^/]*/", "@127.0.0.1:9/", url)
    assert verify(file, nobody).returncode == 2
    assert shown(file) == first
    # If an event is altered past the triggers / I expect it shown, and no other file left behind.
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("UPDATE event SET source = 'somebody'"))
    assert verify(file, url).returncode == 1
    assert shown(file)["hitl_ledger_whole"] == 0
    assert list(tmp_path.iterdir()) == [file]
    # If the answer cannot be written, I expect the code of one that is not known
    missing = tmp_path / "missing" / "hitl_ledger.prom"
    assert verify(missing, url).returncode == 2


def test_cron_calls_it_with_a_file_that_the_node_exporter_reads() -> None:
    (line,) = re.findall(r"^\d.*", (CRON / "hitl-audit").read_text(), re.MULTILINE)
    assert re.search(
        r"deploy/cron/verify-ledger \S+/hitl_ledger\.prom bin/hitl audit verify ", line
    )
