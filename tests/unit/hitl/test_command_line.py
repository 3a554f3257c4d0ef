"""Does the command line help whoever mistypes, asks for its version or presses the tab key?"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.commands.items import paced
from hitl.support.options import moment
from shared.messages import Outgoing
from shared.release import ROOT

EMPTY = Outgoing("", "", b"", "")


def hitl(*words: str) -> Result:
    return CliRunner().invoke(app, words, prog_name="hitl", env={"COLUMNS": "200"})


def commands(group: TyperGroup, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command, the nested ones too, as one types it."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, TyperGroup):
            yield from commands(command, *path, name)


def all_commands() -> list[tuple[str, ...]]:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    return list(commands(root))


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant_at_every_level() -> None:
    typed = all_commands()
    assert {("status",), ("workflow", "check"), ("audit", "verify")} <= set(typed)
    for *path, name in typed:
        # Given a key pressed twice, I expect the name, and the code for wrong usage
        wrong = name + name[-1]
        answer = hitl(*path, wrong)
        assert answer.exit_code == 2, (path, wrong)
        assert f"No such command '{wrong}'. Did you mean" in answer.output, (path, wrong)
        assert repr(name) in answer.output.partition("Did you mean")[2], (path, wrong)


def test_a_mistyped_option_is_answered_with_the_one_that_was_meant() -> None:
    for words, meant in (
        (("--verson",), "--version"),
        (("status", "--jsno"), "--json"),
        (("workflow", "new", "a", "--lables", "b,c"), "--labels"),
    ):
        answer = hitl(*words)
        assert (answer.exit_code, meant in answer.output) == (2, True), answer.output


def test_h_is_help_at_every_level() -> None:
    for path in [(), *all_commands()]:
        short, long = hitl(*path, "-h"), hitl(*path, "--help")
        assert (short.exit_code, long.exit_code) == (0, 0), path
        assert short.output == long.output, path
        assert "-h" in short.output, path


def test_the_version_is_the_one_that_the_project_file_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    answer = hitl("--version")
    assert (answer.exit_code, answer.output) == (0, f"hitl {project['version']}\n")


def test_the_version_is_said_without_looking_at_any_command() -> None:
    # A broken setting, or a package that one command misses, must not keep it from being said
    loaded = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "hitl", "--version"],
        env={"PYTHONPATH": str(ROOT), "HITL_LOG_LEVEL": "nonsense"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pika" not in loaded.stderr and "sqlalchemy" not in loaded.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "-", "--workflow", "sentimnet"),
        ("tail", "--workflow", "sentimnet"),
        ("workflow", "check", "sentimnet"),
        ("model", "list", "--workflow", "sentimnet"),
    ],
)
def test_a_mistyped_workflow_is_answered_with_the_one_that_was_meant(
    words: tuple[str, ...],
) -> None:
    # Given a name that is no workflow's, I do not expect `tail` to wait for it for ever either
    answer = hitl(*words)
    assert answer.exit_code == 1
    assert "did you mean 'sentiment'?" in answer.output


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bin/hitl work", "workflow"),
        ("bin/hitl workflow ch", "check"),
        ("bin/hitl status --js", "--json"),
        ("bin/hitl reviewer add ann --role le", "lead"),
        ("bin/hitl publish items.csv --workflow sent", "sentiment"),
        ("bin/hitl model promote v2 --workflow sent", "sentiment"),
    ],
)
def test_the_tab_key_in_bash_completes_the_checkouts_own_command(line: str, offered: str) -> None:
    # Given the script that `eval` reads, as docs/operate/command-line.md says
    done = subprocess.run(
        [
            "bash",
            "-ec",
            'eval "$(_HITL_COMPLETE=source_bash bin/hitl)"; complete -p hitl >/dev/null;'
            f"COMP_WORDS=({line}); COMP_CWORD={len(line.split()) - 1};"
            '_hitl_completion bin/hitl; echo "${COMPREPLY[@]}"',
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [offered], done.stderr


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-11-30", "2026-11-30T00:00:00+00:00"),
        ("2026-11-30 15:43:30", "2026-11-30T15:43:30+00:00"),
        ("2026-11-30T15:43:30Z", "2026-11-30T15:43:30+00:00"),
        ("2026-11-30T15:43:30+02:00", "2026-11-30T13:43:30+00:00"),
    ],
)
def test_a_time_counts_in_the_zone_that_it_names(given: str, meant: str) -> None:
    assert moment(given).isoformat() == meant


@pytest.mark.parametrize("given", ["2024", "1e9", "now", "2024-13-01", "0001-01-01T00:00+23:00"])
@pytest.mark.parametrize(
    "words",
    [("export", "labels"), ("disagreements",), ("replay", "--policy", "deploy/workflows/x.toml")],
)
def test_what_is_no_time_is_refused(words: tuple[str, ...], given: str) -> None:
    # 2024 would be read as so many seconds after 1970, and the answer would be about everything
    answer = hitl(*words, "--since", given)
    assert (answer.exit_code, "is not a time: write 2024-05-01" in answer.output) == (2, True)


def test_a_picture_of_no_known_kind_is_refused_before_any_work() -> None:
    answer = hitl("disagreements", "--plot", "picture.txt")
    assert (answer.exit_code, ".png or .svg" in answer.output) == (2, True)


def test_a_folder_is_no_file_to_publish(tmp_path: Path) -> None:
    answer = hitl("publish", str(tmp_path))
    said = f"{tmp_path}: a folder without a .parquet file\n"
    assert (answer.exit_code, answer.output) == (1, said)


def test_a_rate_without_end_publishes_in_whole_windows() -> None:
    assert [len(window) for window in paced(iter([EMPTY] * 501), float("inf"))] == [500, 1]


def test_an_error_of_the_system_is_one_line() -> None:
    # Given folders that cannot be
    words = ("--data", "/dev/null/data", "--out", "/dev/null/out")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "hitl", "train-embedded", *words],
        env={"PYTHONPATH": str(ROOT), "HITL_HOME": "/dev/null"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "/dev/null" in done.stderr.splitlines()[-1]
