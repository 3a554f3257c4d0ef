"""Do the commands for accounts do what they say, from outside?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account, Accounts, find
from shared.clock import utc_now
from shared.storage.database import connect

ROOT = Path(__file__).resolve().parents[3]


class CommandLine:
    """`hitl reviewer …` in a process of its own."""

    def __init__(self, database_url: str, home: Path) -> None:
        self.database_url = database_url
        self.environment = {**os.environ, "DATABASE_URL": database_url, "HITL_HOME": str(home)}

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hitl", "reviewer", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def verified(self, name: str, password: str) -> Account | None:
        """The account, when this password opens it."""
        engine = connect(self.database_url, pool_size=1)
        try:
            with Session(engine) as session:
                return Accounts(utc_now).verify(session, name, password)
        finally:
            engine.dispose()

    def epoch(self, name: str) -> int:
        engine = connect(self.database_url, pool_size=1)
        try:
            with Session(engine) as session:
                account = find(session, name)
                assert account is not None
                return account.session_epoch
        finally:
            engine.dispose()


@pytest.fixture
def reviewer(database_url: str, tmp_path: Path) -> CommandLine:
    return CommandLine(database_url, tmp_path)


def test_an_account_lives_from_add_to_disable(reviewer: CommandLine) -> None:
    # If I add an account, with spaces in its password
    added = reviewer("add", "ada", "--role", "lead", "--password-stdin", stdin="a good one \n")
    # I expect exactly this password to open it, in this role
    assert added.returncode == 0, added.stderr
    account = reviewer.verified("ada", "a good one ")
    assert account is not None
    assert account.role == "lead"
    assert reviewer.verified("ada", "a good one") is None
    # If I add it again, I expect one line that says what is wrong
    again = reviewer("add", "ada", "--password-stdin", stdin="another one\n")
    assert again.returncode == 1
    assert again.stderr.strip() == "account 'ada' already exists"
    # If I change the password, I expect open sessions to end
    assert reviewer("password", "ada", "--password-stdin", stdin="a new one\n").returncode == 0
    assert reviewer.verified("ada", "a new one") is not None
    assert reviewer.epoch("ada") == 1
    # If I disable it, I expect no password to open it any more, and its sessions to end
    assert reviewer("disable", "ada").returncode == 0
    assert reviewer.verified("ada", "a new one") is None
    assert reviewer.epoch("ada") == 2
    listed = reviewer("list")
    assert "ada" in listed.stdout
    assert "disabled" in listed.stdout


def test_what_cannot_be_an_account_is_refused_in_words(reviewer: CommandLine) -> None:
    for arguments, stdin, problem in (
        (("add", "a b", "--password-stdin"), "something\n", "a name has 1 to 64"),
        (("add", "ada", "--password-stdin"), "\n", "the password must not be empty"),
        (("disable", "nobody"), "", "there is no account 'nobody'"),
    ):
        done = reviewer(*arguments, stdin=stdin)
        assert done.returncode == 1
        assert problem in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reviewer_is_limited_to_workflows_and_freed_again(
    reviewer: CommandLine, tmp_path: Path
) -> None:
    # Given a folder with one workflow
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "tweets.toml").write_text('[workflow]\nname = "tweets"\n')
    reviewer.environment["HITL_WORKFLOWS_DIR"] = str(flows)
    # If I add somebody for it, I expect them to see it alone,
    words = ("add", "ada", "--workflow", "tweets", "--password-stdin")
    done = reviewer(*words, stdin="a long password")
    assert "ada may log in as reviewer for tweets." in done.stdout
    account = reviewer.verified("ada", "a long password")
    assert account is not None
    assert account.sees("tweets")
    assert not account.sees("sentiment")
    # and everything again when I take the limit away.
    assert "for every workflow" in reviewer("limit", "ada").stdout
    account = reviewer.verified("ada", "a long password")
    assert account is not None
    assert account.sees("sentiment")
    # A workflow that is not there, or a lead, cannot be meant.
    wrong = reviewer("limit", "ada", "--workflow", "twets")
    assert wrong.returncode == 1
    assert "no file for workflow twets" in wrong.stderr
    lead = ("add", "bea", "--role", "lead", "--workflow", "tweets", "--password-stdin")
    refused = reviewer(*lead, stdin="a long password")
    assert refused.returncode == 1
    assert "a lead sees every workflow" in refused.stderr


def test_without_a_terminal_it_says_how_to_give_a_password(reviewer: CommandLine) -> None:
    done = reviewer("add", "zoe")
    assert done.returncode == 1
    assert done.stderr == "no terminal to ask for a password: use --password-stdin\n"


def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(reviewer: CommandLine) -> None:
    reviewer("add", "margarete", "--password-stdin", stdin="a good password\n")
    for wrong in (("disable", "margrete"), ("limit", "margarette", "--workflow", "sentiment")):
        answer = reviewer(*wrong)
        assert (answer.returncode, "did you mean 'margarete'?" in answer.stderr) == (1, True)
    # And where nothing is close, no guess
    assert reviewer("disable", "zoe").stderr == "there is no account 'zoe'\n"
