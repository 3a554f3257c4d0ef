"""The database is gone. What comes back, from what, and what does not? A drill, on real servers."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql
from sqlalchemy import Engine, make_url, text
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from hitl.servers.installed import postgres_programs
from hitl.servers.postgres import PrivatePostgres, as_user, server_user
from hitl.servers.processes import write_private
from services.inference.handler import InferenceHandler, Served
from services.review_ui.tasks.asked import predicted_brief
from services.review_ui.tasks.intake import Intake
from services.router.handler import Router
from services.router.policy import Policy
from shared.clock import utc_now
from shared.events.models import ItemReviewed, derive_id
from shared.messages import Handler
from shared.messaging.connection import Broker, declare_all
from shared.storage.database import connect
from shared.storage.migration import migrate
from shared.storage.outbox import publish_due
from shared.topology import (
    LOG_QUEUE,
    ROUTER_QUEUE,
    accepted_queue,
    inference_queue,
    review_queue,
)
from shared.workflows.files import ReviewRules
from tests.chaos.scorer import Hashed
from tests.conftest import Postgres, RabbitMQ, started
from tests.support.amqp_client import Outsider, Received, outsider, until
from tests.support.filled_database import logger_on
from tests.support.review_data import ReviewRoom
from tests.support.service_workers import TOPOLOGY, working

ACCEPTED = accepted_queue("sentiment")
INFERENCE = inference_queue("sentiment")
REVIEW = review_queue("sentiment")


@dataclass
class Site:
    """A pipeline at work: real workers, a database that may be lost, people, and downstream."""

    amqp_url: str
    program: Outsider
    url: str
    sent: list[str] = field(default_factory=list)

    @contextmanager
    def services(self, url: str, *queues: str) -> Iterator[Engine]:
        """Those of these queues (else all), on this database."""
        engine = connect(url)
        handlers: dict[str, Handler] = {
            INFERENCE: InferenceHandler(
                {INFERENCE: Served("sentiment", Hashed())}, max_body_bytes=1 << 20, clock=utc_now
            ),
            ROUTER_QUEUE: Router(lambda _: Policy(threshold=0.85), salt="s", clock=utc_now),
            REVIEW: Intake(engine, utc_now),
            LOG_QUEUE: logger_on(engine),
        }
        try:
            wanted = [(queue, handlers[queue]) for queue in queues or handlers]
            with working(self.amqp_url, wanted):
                yield engine
        finally:
            engine.dispose()

    def publish(self, name: str, count: int) -> list[str]:
        """So many new items; about one in ten is for people."""
        names = [f"{name} {number}" for number in range(count)]
        for each in names:
            self.program.publish(json.dumps({"id": each, "text": f"the text of {each}"}))
        self.sent += names
        return names

    def decide(self, engine: Engine, count: int) -> list[str]:
        """People correct so many tasks, and the relay publishes what they said; returns when it is
        in the log."""
        room = ReviewRoom(engine, ReviewRules())
        answered = "SELECT count(*) FROM item WHERE reviewer = 'ann'"
        [before] = rows(engine, answered)
        tasks = room.claim("ann", count)
        assert len(tasks) == count
        for task in tasks:
            other = {"positive": "negative", "negative": "positive"}
            room.decide("ann", task, other[str(predicted_brief(task))])
        room.clock.turn(60)
        broker = Broker(self.amqp_url, name="relay")
        broker.start()
        try:
            assert broker.wait_ready(10)
            assert publish_due(engine, broker.publish, room.clock()) == count
        finally:
            broker.close()
        until(lambda: rows(engine, answered)[0] >= before + count, what="the answers in the log")
        return [task.item_id for task in tasks]

    def settled(self, engine: Engine, *, logged: bool = True) -> None:
        """Waits until every queue of ours is empty and everything that was sent has its row."""
        queues = [INFERENCE, ROUTER_QUEUE, REVIEW, *([LOG_QUEUE] if logged else [])]
        until(lambda: not any(map(self.program.ready, queues)), what="empty queues")
        if logged:
            open_ = "SELECT count(*) FROM item WHERE status <> 'SCORED'"
            until(lambda: rows(engine, open_)[0] >= len(self.sent), what="a row for each item")
            self.asked(engine)

    def asked(self, engine: Engine) -> None:
        """Waits until people are asked about every item that the log says is for them: the message
        is out of its queue before its task is in the table."""
        missing = (
            "SELECT count(*) FROM item WHERE status = 'HUMAN_REVIEW' AND NOT EXISTS"
            " (SELECT FROM review_task t WHERE (t.workflow, t.item_id) = (item.workflow, item.id))"
        )
        until(lambda: rows(engine, missing) == [0], what="a task for each item of people")


def lose(postgres: PrivatePostgres) -> None:
    """The server dies, and its disk is gone."""
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    shutil.rmtree(Path((postgres.home / "location").read_text()))


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(text(query)).scalars())


def items(engine: Engine) -> dict[str, dict[str, Any]]:
    """What is known of each item, by id, but for what is only about the row itself."""
    query = "SELECT to_jsonb(item) - 'updated_at' - 'text_salts' FROM item"
    return {row["id"]: row for row in rows(engine, query)}


def hitl(url: str, site: Site, home: Path, *words: str, api_url: str = "") -> Result:
    environment = {
        "DATABASE_URL": url,
        "AMQP_URL": site.amqp_url,
        "HITL_RABBITMQ_API_URL": api_url,
        "HITL_HOME": str(home),
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, words, env=environment)


def well(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def ids(messages: Sequence[Received]) -> set[str]:
    return {json.loads(message.body)["item"]["id"] for message in messages}


@contextmanager
def cluster(server_home: Path, *, fast: bool) -> Iterator[PrivatePostgres]:
    """A Postgres of the test's own, to be lost."""
    home = server_home / f"site-{secrets.token_hex(4)}"
    server = PrivatePostgres(home, server_home / f"{home.name}.log", fast=fast)
    with started(server):
        migrate(server.database_url)
        yield server


@pytest.fixture
def lost(server_home: Path) -> Iterator[PrivatePostgres]:
    """The same, for the length of a test."""
    with cluster(server_home, fast=True) as server:
        yield server


@contextmanager
def site_on(amqp_url: str, url: str) -> Iterator[Site]:
    declare_all(amqp_url, TOPOLOGY)
    with outsider(amqp_url) as program:
        yield Site(amqp_url, program, url)


@pytest.fixture
def site(amqp_url: str, database_url: str) -> Iterator[Site]:
    with site_on(amqp_url, database_url) as site:
        yield site


@pytest.fixture
def new_database(postgres: Postgres) -> Iterator[str]:
    """An empty database on another server."""
    name = f"restored_{secrets.token_hex(4)}"
    postgres.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres.url_of(name)
    postgres.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_last_nights_dump_and_the_queues_bring_back_all_but_what_everybody_had_acked(
    lost: PrivatePostgres, amqp_url: str, new_database: str, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    with site_on(amqp_url, lost.database_url) as site:
        night, anchors = tmp_path / "night", tmp_path / "anchors.jsonl"
        with site.services(site.url) as engine:
            # Given a day's work, and then the nightly dump
            site.publish("yesterday", 60)
            site.settled(engine)
            decided_yesterday = site.decide(engine, 2)
            site.settled(engine)
            said = well(
                hitl(site.url, site, tmp_path, "backup", str(night), api_url=rabbitmq.api_url)
            )
            assert "ledger up to block" in said
            # After it more items come, people decide some of yesterday's, and downstream takes all;
            taken_items = site.publish("taken", 40)
            site.settled(engine)
            (asked_again,) = site.decide(engine, 1)
            site.settled(engine)
            (first_answer,) = [
                message.message_id
                for message in site.program.drain(ACCEPTED)
                if json.loads(message.body)["item"]["id"] == asked_again
            ]
            # then more of which the decisions lie in downstream's queue,
            waiting_items = site.publish("waiting", 40)
            site.settled(engine)
            before = items(engine)
            well(hitl(site.url, site, tmp_path, "audit", "head", "--anchor", str(anchors)))
        with site.services(site.url, INFERENCE, ROUTER_QUEUE, REVIEW) as engine:
            # and more while the logger is away: their events wait in its queue.
            backlog_items = site.publish("backlog", 40)
            site.settled(engine, logged=False)
        # If the database is lost, the dump is restored into a new one
        lose(lost)
        said = well(hitl(new_database, site, tmp_path, "restore", str(night), "--database-only"))
        assert "restored as of" in said
        assert "Next, before any service starts: `hitl prepare --roles FOLDER`" in said
        restored = connect(new_database)
        assert set(items(restored)) == {f"yesterday {number}" for number in range(60)}
        # I expect the ledger to be whole as of then, and an anchor to say where the record goes on.
        assert "whole" in well(hitl(new_database, site, tmp_path, "audit", "verify"))
        short = hitl(new_database, site, tmp_path, "audit", "verify", "--anchors", str(anchors))
        assert short.exit_code == 1
        assert "is missing, which an anchor names: the ledger ends at" in short.stderr
        # If what the queues hold is copied to the log's queue, and the services start,
        said = well(hitl(new_database, site, tmp_path, "rebuild", "--queues"))
        assert f"messages of {ACCEPTED} copied" in said
        with site.services(new_database) as engine:
            until(lambda: site.program.ready(LOG_QUEUE) == 0, what="the log's backlog")
            site.settled(engine, logged=False)
            people_waiting = {name for name in before if before[name]["status"] == "HUMAN_REVIEW"}
            back = 60 + len(set(waiting_items) - people_waiting) + len(backlog_items)
            routed = "SELECT count(*) FROM item WHERE status <> 'SCORED'"
            until(lambda: rows(engine, routed)[0] >= back, what="the rows")
            said = well(hitl(new_database, site, tmp_path, "rebuild"))
            assert "0 were missing, 0 were different" in said
            site.asked(engine)
            found = items(engine)
            # I expect all of yesterday, decided as it was, and all whose decision nobody had taken;
            for name in (*decided_yesterday, *(set(waiting_items) - people_waiting)):
                assert {**found[name], "scored_at": None} == {**before[name], "scored_at": None}
            # all that waited for the logger, those for whom a person is needed with their tasks;
            assert set(backlog_items) <= found.keys()
            asked = set(rows(engine, "SELECT item_id FROM review_task WHERE status = 'open'"))
            assert asked == {name for name in found if found[name]["status"] == "HUMAN_REVIEW"}
            # and to miss only what had left every queue since the dump: decided and taken by
            # downstream, or waiting for a person who has it nowhere but in the lost database.
            gone = set(site.sent) - found.keys()
            assert gone == set(taken_items) | (set(waiting_items) & people_waiting)
            # A decision that was lost with it is asked again: under the same id, so that downstream
            # knows it has it.
            assert found[asked_again]["status"] == "HUMAN_REVIEW"
            again = derive_id(ItemReviewed.type, "sentiment", asked_again, "1")
            assert str(again) == first_answer
            # Sent once more by who has them, the missing are decided like any other; work goes on.
            for name in sorted(gone):
                site.program.publish(json.dumps({"id": name, "text": f"the text of {name}"}))
            site.settled(engine)
            site.decide(engine, 1)
            assert set(items(engine)) == set(site.sent)
            assert "whole" in well(hitl(new_database, site, tmp_path, "audit", "verify"))
        restored.dispose()


def test_a_backup_that_is_damaged_or_a_database_in_use_is_refused(
    site: Site, database_url: str, new_database: str, tmp_path: Path
) -> None:
    # Given a backup
    night = tmp_path / "night"
    well(hitl(site.url, site, tmp_path, "backup", str(night), "--database-only"))
    password = make_url(database_url).password or ""
    for file in night.iterdir():
        assert password.encode() not in file.read_bytes()
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=night, capture_output=True)
    assert checked.returncode == 0
    # If I write over it, restore over a database that is in use, or restore a damaged one,
    again = hitl(site.url, site, tmp_path, "backup", str(night), "--database-only")
    into_use = hitl(site.url, site, tmp_path, "restore", str(night), "--database-only")
    with (night / "database.dump").open("r+b") as dump:
        dump.seek(200)
        dump.write(b"damage")
    damaged = hitl(new_database, site, tmp_path, "restore", str(night), "--database-only")
    # or back up what is no database of ours,
    half = hitl(new_database, site, tmp_path, "backup", str(tmp_path / "half"), "--database-only")
    # I expect a refusal each time, in one line that says what to do, and nothing changed: nor is
    # there a half of a backup, which would keep a full disk full.
    assert not list(tmp_path.glob("half*"))
    for refused, why in ((again, "exists already"), (into_use, "has tables"), (damaged, "damaged"),
                         (half, "`hitl prepare` been run?")):  # fmt: skip
        assert refused.exit_code == 2
        assert why in refused.stderr
        assert password not in refused.output
    with connect(new_database).connect() as connection:
        assert connection.execute(text("SELECT to_regclass('event')")).scalar() is None


def test_the_broker_is_told_what_the_services_do_not_declare(
    site: Site, rabbitmq: RabbitMQ, new_database: str, tmp_path: Path
) -> None:
    # Given a backup with the broker's definitions, in a file that only its owner can read
    night = tmp_path / "night"
    well(hitl(site.url, site, tmp_path, "backup", str(night), api_url=rabbitmq.api_url))
    assert (night.stat().st_mode & 0o777) == 0o700
    vhost = site.amqp_url.rpartition("/")[2]
    (policy,) = rabbitmq.api.get(f"/policies/{vhost}").json()[:1]
    # If a policy is lost, and the backup is restored
    rabbitmq.api.delete(f"/policies/{vhost}/{policy['name']}").raise_for_status()
    well(hitl(new_database, site, tmp_path, "restore", str(night), api_url=rabbitmq.api_url))
    # I expect it to be back.
    assert policy in rabbitmq.api.get(f"/policies/{vhost}").json()


@contextmanager
def archived(site: Site, folder: Path) -> Iterator[None]:
    """As docs/operate/backups.md says: no commit returns before its log is on a second disk."""
    programs, user = postgres_programs(), server_user()
    assert programs is not None
    folder.mkdir()
    address = f"{site.url.rpartition('/')[0]}/postgres?application_name=hitl_archive"
    if user is not None:
        shutil.chown(folder, user)
    receive = [*as_user(user), str(programs / "pg_receivewal"), f"--dbname={address}"]
    receive += ["--slot=hitl_archive"]
    subprocess.run([*receive, "--create-slot"], check=True)
    process = subprocess.Popen([*receive, f"--directory={folder}", "--synchronous"])
    connection = psycopg2.connect(site.url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = 'hitl_archive'")
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute("SELECT sync_state FROM pg_stat_replication")

        def synchronous() -> bool:
            with connection.cursor() as cursor:
                cursor.execute("SELECT sync_state FROM pg_stat_replication")
                return cursor.fetchall() == [("sync",)]

        until(synchronous, what="the archive to be synchronous")
        connection.close()
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def recovered(lost: PrivatePostgres, base: Path, archive: Path, home: Path) -> PrivatePostgres:
    """A new cluster of the base backup and the archived log."""
    home.mkdir()
    data = home / "cluster"
    base.rename(data)
    write_private(home / "location", str(data))
    write_private(home / "password", lost.password)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("synchronous_standby_names = ''\n")
        settings.write(
            f'restore_command = \'cp "{archive}/%f" "%p" || cp "{archive}/%f.partial" "%p"\'\n'
        )
    user = server_user()
    if user is not None:
        shutil.chown(data / "recovery.signal", user)
    server = PrivatePostgres(home, home.parent / f"{home.name}.log")
    server.start()
    server.wait_ready()
    return server


def test_with_the_write_ahead_log_on_a_second_disk_nothing_is_lost(
    amqp_url: str, server_home: Path, tmp_path: Path
) -> None:
    archive = server_home / f"wal-{secrets.token_hex(4)}"
    base = server_home / f"base-{secrets.token_hex(4)}"
    anchors = tmp_path / "anchors.jsonl"
    programs = postgres_programs()
    assert programs is not None
    with (
        cluster(server_home, fast=False) as lost,
        site_on(amqp_url, lost.database_url) as site,
        archived(site, archive),
    ):
        # Given last night's base backup, and work that goes on
        copy = [*as_user(server_user()), str(programs / "pg_basebackup"), f"--pgdata={base}"]
        base.mkdir(mode=0o700)
        if (user := server_user()) is not None:
            shutil.chown(base, user)
        copy += [f"--dbname={site.url}", "--wal-method=none", "--checkpoint=fast"]
        subprocess.run([*copy, "--no-manifest"], check=True, capture_output=True)
        with site.services(site.url) as engine:
            site.publish("logged", 60)
            site.settled(engine)
            site.decide(engine, 2)
            taken = site.program.drain(ACCEPTED)
            before = items(engine)
            well(hitl(site.url, site, tmp_path, "audit", "head", "--anchor", str(anchors)))
            # If the server and its disk are lost in the middle of it
            site.publish("under way", 150)
            lose(lost)
        # and a new one is made of the base backup and the log
        server = recovered(lost, base, archive, server_home / f"new-{secrets.token_hex(4)}")
        try:
            with site.services(server.database_url) as engine:
                # I expect every row that was there, to the letter;
                found = items(engine)
                for name, row in before.items():
                    assert found[name] == row
                # the ledger to go on where it was anchored;
                well(
                    hitl(
                        server.database_url,
                        site,
                        tmp_path,
                        "audit",
                        "verify",
                        "--anchors",
                        str(anchors),
                    )
                )
                # and what was under way to arrive, as if nothing had been.
                site.settled(engine)
                assert set(items(engine)) == set(site.sent)
                said = well(hitl(server.database_url, site, tmp_path, "rebuild"))
                assert "0 were missing, 0 were different" in said
                assert "tasks: 0 closed" in said
                taken += site.program.drain(ACCEPTED)
                waiting = rows(engine, "SELECT id FROM item WHERE status = 'HUMAN_REVIEW'")
                assert ids(taken) | set(waiting) == set(site.sent)
        finally:
            server.stop()
