"""Do the schedules in deploy/ run a command that exists, at the same time of day, as documented?"""

import os
import re
import subprocess
import time
from pathlib import Path

from typer.main import get_command

from hitl.commands.retrain import app

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


def test_cron_backs_up_every_night_and_says_so_to_the_node_exporter() -> None:
    lines = (DEPLOY / "cron" / "hitl-backup").read_text().splitlines()
    [line] = [line for line in lines if line and line[0].isdigit()]
    assert line.split(maxsplit=6)[:6] == ["30", "1", "*", "*", "*", "hitl"]
    assert "%" not in line, "it ends a command in cron"
    assert re.search(
        r"deploy/cron/back-up /var/backups/hitl \S+/hitl_backup\.prom bin/hitl backup ", line
    )


def back_up(folder: Path, file: Path, command: str) -> int:
    """The exit code of what cron starts; `command` is given the new folder's path."""
    return subprocess.run([DEPLOY / "cron" / "back-up", folder, file, command]).returncode


def backups(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def last_backup(file: Path) -> float:
    [value] = re.findall(r"^hitl_backup_timestamp_seconds (\d+)$", file.read_text(), re.MULTILINE)
    return float(value)


def test_old_backups_go_only_after_a_new_one_was_made(tmp_path: Path) -> None:
    # Given backups of three weeks and of one week ago / If tonight's fails
    folder, file = tmp_path / "backups", tmp_path / "hitl_backup.prom"
    for name, days in (("old", 21), ("young", 7)):
        (folder / name).mkdir(parents=True)
        then = time.time() - days * 86_400
        os.utime(folder / name, (then, then))
    assert back_up(folder, file, "false") != 0
    # I expect both to be kept, and Prometheus to learn that none was ever made
    assert backups(folder) == {"old", "young"}
    assert last_backup(file) == 0
    # If tomorrow's succeeds, I expect the oldest to go, and the time to be told
    assert back_up(folder, file, "mkdir") == 0
    [new] = backups(folder) - {"young"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", new)
    made = last_backup(file)
    assert abs(made - time.time()) < 60
    # If one fails after that, I expect the time to stay, and no other file to be left behind.
    assert back_up(folder, file, "false") != 0
    assert last_backup(file) == made
    assert backups(tmp_path) == {"backups", "hitl_backup.prom"}


def test_the_archive_is_the_one_that_the_page_on_backups_describes() -> None:
    unit = (DEPLOY / "systemd" / "hitl-archive.service").read_text()
    page = (DEPLOY.parent / "docs" / "operate" / "backups.md").read_text()
    for option in ("--slot=hitl_archive", "--directory=/var/lib/hitl-archive", "--synchronous"):
        assert option in unit
        assert option in page
    assert "PGAPPNAME=hitl_archive" in unit
    assert "synchronous_standby_names = 'hitl_archive'" in page
