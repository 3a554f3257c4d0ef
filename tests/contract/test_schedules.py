"""Do the schedules in deploy/ run a command that exists, at the same time of day, as documented?"""

import re
from pathlib import Path

from typer.main import get_command

from hitl.retrain import app

DEPLOY = Path(__file__).parents[2] / "deploy"
OPTIONS = {name for parameter in get_command(app).params for name in getattr(parameter, "opts", [])}


def options(command: str) -> list[str]:
    return re.findall(r"--[a-z-]+", command.partition("retrain ")[2])


def test_the_systemd_unit_runs_the_command_for_the_instances_workflow() -> None:
    unit = (DEPLOY / "systemd" / "hitl-retrain@.service").read_text()
    [command] = re.findall(r"^ExecStart=(.+)$", unit, flags=re.MULTILINE)
    assert command.endswith("bin/hitl retrain --workflow %i")
    assert set(options(command)) <= OPTIONS
    timer = (DEPLOY / "systemd" / "hitl-retrain@.timer").read_text()
    assert "OnCalendar=*-*-* 02:30:00" in timer


def test_the_cron_line_has_its_fields_and_runs_the_command() -> None:
    lines = (DEPLOY / "cron" / "hitl-retrain").read_text().splitlines()
    [line] = [line for line in lines if line and not line.startswith("#") and "=" not in line[:8]]
    minute, hour, *days, user, _command = line.split(maxsplit=6)
    assert (minute, hour, days, user) == ("30", "2", ["*", "*", "*"], "hitl")
    assert "bin/hitl retrain --workflow sentiment" in line
    assert set(options(line)) <= OPTIONS


def test_the_nightly_backup_goes_into_a_folder_of_its_own_and_old_ones_go() -> None:
    lines = (DEPLOY / "cron" / "hitl-backup").read_text().splitlines()
    [dump, prune] = [line for line in lines if line and line[0].isdigit()]
    assert dump.split(maxsplit=6)[:6] == ["30", "1", "*", "*", "*", "hitl"]
    # A bare % ends a command in cron.
    assert r'bin/hitl backup "/var/backups/hitl/$(date +\%F)"' in dump
    assert "/var/backups/hitl -mindepth 1 -maxdepth 1 -mtime +14" in prune


def test_the_archive_is_the_one_that_the_page_on_backups_describes() -> None:
    unit = (DEPLOY / "systemd" / "hitl-archive.service").read_text()
    page = (DEPLOY.parent / "docs" / "backups.md").read_text()
    for option in ("--slot=hitl_archive", "--directory=/var/lib/hitl-archive", "--synchronous"):
        assert option in unit
        assert option in page
    assert "PGAPPNAME=hitl_archive" in unit
    assert "synchronous_standby_names = 'hitl_archive'" in page
