"""Do the schedules in deploy/ run commands that exist, all of them at the same time of day?"""

import os
import re
import subprocess
import time
from pathlib import Path

import yaml
from typer.main import get_command

from hitl.commands.retrain import app

DEPLOY = Path(__file__).parents[2] / "deploy"
OPTIONS = {name for parameter in get_command(app).params for name in getattr(parameter, "opts", [])}


def cron_line(name: str) -> re.Match[str]:
    """The one job of a file in deploy/cron: when, as whom, and what."""
    lines = (DEPLOY / "cron" / name).read_text().splitlines()
    fields = r"(?P<when>(?:[\d*,/-]+ ){4}[\d*,/-]+) (?P<user>\w+) (?P<command>[^%]+)"  # % ends one
    found = [re.fullmatch(fields, line) for line in lines if not re.match(r"#|\w+=", line)]
    [line] = found
    assert line is not None
    return line


def options(command: str) -> list[str]:
    return re.findall(r"--[a-z-]+", command.partition("retrain ")[2])


def test_the_systemd_unit_runs_the_command_for_the_instances_workflow() -> None:
    unit = (DEPLOY / "systemd" / "hitl-retrain@.service").read_text()
    [command] = re.findall(r"^ExecStart=(.+)$", unit, flags=re.MULTILINE)
    assert command.endswith("bin/hitl retrain --workflow %i")
    assert set(options(command)) <= OPTIONS


def test_the_cron_line_runs_the_command() -> None:
    command = cron_line("hitl-retrain")["command"]
    assert "bin/hitl retrain --workflow sentiment" in command
    assert set(options(command)) <= OPTIONS


def test_cron_systemd_and_the_chart_retrain_at_the_same_time_every_night() -> None:
    timer = (DEPLOY / "systemd" / "hitl-retrain@.timer").read_text()
    [(hour, minute)] = re.findall(r"^OnCalendar=\*-\*-\* (\d\d):(\d\d):00$", timer, re.MULTILINE)
    chart = yaml.safe_load((DEPLOY / "helm" / "hitl-pipeline" / "values.yaml").read_text())
    when = f"{int(minute)} {int(hour)} * * *"
    assert when == cron_line("hitl-retrain")["when"] == chart["retrain"]["schedule"]


def test_cron_backs_up_every_night_and_says_so_to_the_node_exporter() -> None:
    backup, retrain = cron_line("hitl-backup"), cron_line("hitl-retrain")
    assert re.fullmatch(r"\d+ \d+ \* \* \*", backup["when"])
    assert backup["when"] != retrain["when"]
    assert backup["user"] == retrain["user"]
    assert re.search(
        r"deploy/cron/back-up /var/backups/hitl \S+/hitl_backup\.prom bin/hitl backup ",
        backup["command"],
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
