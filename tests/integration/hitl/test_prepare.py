"""Is a new database and a new broker ready for the services after `hitl prepare`, run twice?"""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pika
import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hitl.__main__ import app
from hitl.access.database_roles import url_of
from hitl.support.first_reviewer import FIRST_REVIEWER
from services.review_ui.auth.accounts import Accounts, everyone
from shared.clock import utc_now
from shared.storage.database import connect
from shared.topology import LOG_QUEUE
from tests.support.amqp_client import outsider


def prepare(
    password_file: Path | None, *options: str | Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in an environment of its own."""
    first: list[str | Path] = ["--reviewer-password", password_file] if password_file else []
    return subprocess.run(
        [sys.executable, "-m", "hitl", "prepare", *first, *options],
        env={"PATH": os.defpath, **environment},
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip


def test_tables_queues_and_one_reviewer_are_there_and_stay(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given a database without the project's tables, and an empty virtual host.
    engine = connect(database_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    password_file = tmp_path / "reviewer-password"
    # If they are prepared without a word about an account, I expect none, and that this is said.
    bare = prepare(None, AMQP_URL=amqp_url, DATABASE_URL=database_url)
    assert bare.returncode == 0, bare.stderr
    assert "hitl reviewer add" in bare.stdout
    # If they are prepared, the first account is disabled, and they are prepared again.
    first = prepare(password_file, AMQP_URL=amqp_url, DATABASE_URL=database_url)
    assert first.returncode == 0, first.stderr
    password = password_file.read_text().strip()
    with Session(engine) as session, session.begin():
        assert Accounts(utc_now).verify(session, FIRST_REVIEWER, password) is not None
        Accounts(utc_now).disable(session, FIRST_REVIEWER)
    again = prepare(password_file, AMQP_URL=amqp_url, DATABASE_URL=database_url)
    assert again.returncode == 0, again.stderr
    # I expect the queues, the same account, and no second one for whoever was locked out.
    with Session(engine) as session:
        assert [(found.name, found.disabled) for found in everyone(session)] == [
            (FIRST_REVIEWER, True)
        ]
    engine.dispose()
    connection_to_broker = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection_to_broker.channel().queue_declare(LOG_QUEUE, passive=True)
    connection_to_broker.close()
    assert password not in first.stdout + first.stderr


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    # Given no database's address / I expect its name, and no traceback.
    done = prepare(tmp_path / "password", AMQP_URL="amqp://127.0.0.1/")
    assert done.returncode == 1
    assert "DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_roles_are_made_with_the_passwords_of_a_folder(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given a password in a file with the role's name / If the servers are prepared
    roles = tmp_path / "roles"
    roles.mkdir()
    (roles / "hitl_logger").write_text("a password of the logger\n")
    addresses = {"AMQP_URL": amqp_url, "DATABASE_URL": database_url}
    done = prepare(None, "--roles", roles, **addresses)
    assert done.returncode == 0, done.stderr
    # I expect the role to log in, and to write events and nothing else
    url = url_of(database_url, "hitl_logger", "a password of the logger")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM event")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM event")
    # And a file that is called like no role is a mistake
    (roles / "hitl_loger").write_text("x")
    done = prepare(None, "--roles", roles, **addresses)
    assert done.returncode == 1
    assert "hitl_loger" in done.stderr


def test_the_brokers_users_are_printed_for_import(tmp_path: Path) -> None:
    # Given a password for two users / I expect these two, hashed, with their rights
    (tmp_path / "logger").write_text("the logger's own\n")
    (tmp_path / "downstream").write_text("two\n")
    shown = CliRunner().invoke(app, ["broker-users", str(tmp_path)])
    found = json.loads(shown.stdout)
    assert {user["name"] for user in found["users"]} == {"logger", "downstream"}
    assert {right["user"]: right["read"] for right in found["permissions"]} == {
        "logger": r"^hitl\.log$",
        "downstream": r"^hitl\.[^.]+\.accepted$",
    }
    assert "the logger's own" not in shown.stdout  # (a word might be in a hash)


def test_a_queue_that_is_another_is_named_and_all_else_is_declared(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given two workflows, and a queue of the first that somebody declared otherwise
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'[workflow]\nname = "{name}"\n')
    with outsider(amqp_url) as owner:
        owner.declare("hitl.a.review")
        # If all is prepared
        done = prepare(
            None, AMQP_URL=amqp_url, DATABASE_URL=database_url, HITL_WORKFLOWS_DIR=str(tmp_path)
        )
        # I expect that one named, with the reason, no word of the other, and the services, which
        # wait for this command, to be able to start.
        assert done.returncode == 0, done.stderr
        [said] = [line for line in done.stderr.splitlines() if "not served" in line]
        assert "Workflow a is not served" in said
        assert "hitl.a.review" in said
        assert owner.exists("hitl.b.accepted")
        owner.publish("{}", routing_key="b")
        assert owner.ready("hitl.b.inference") == 1
