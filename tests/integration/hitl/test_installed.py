"""Where several RabbitMQs and PostgreSQLs are installed: which one runs?"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from hitl.servers import installed
from hitl.servers.installed import postgres_programs, postgres_versions, rabbitmq_program
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.private import ServerError
from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.storage.migration import migrate
from tests.conftest import Postgres, RabbitMQ, started
from tests.support.amqp_client import until


@pytest.fixture
def home(postgres: Postgres) -> Iterator[Path]:
    """A folder that the Postgres user may enter."""
    with tempfile.TemporaryDirectory(prefix="hitl-tests-", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


def pretend(folder: Path, version: int) -> Path:
    """A PostgreSQL that knows its version, and nothing else."""
    folder.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}.1'\nexit 1\n")
        program.chmod(0o755)
    return folder


def first_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def off_path(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    left = [folder for folder in os.get_exec_path() if not (Path(folder) / program).exists()]
    monkeypatch.setenv("PATH", ":".join(left))


def kept(server: PrivatePostgres) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.database_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS kept (it int)")
            cursor.execute("INSERT INTO kept VALUES (1)")
            cursor.execute("SELECT count(*) FROM kept")
            return cursor.fetchall()
    finally:
        connection.close()


def test_the_servers_that_run_are_those_that_were_found(
    rabbitmq: RabbitMQ, postgres: Postgres
) -> None:
    control, programs = rabbitmq_program("rabbitmqctl"), postgres_programs()
    assert control is not None
    assert programs is not None
    said = subprocess.run([control, "version"], capture_output=True, text=True, check=True)
    assert rabbitmq.api.get("/overview").json()["rabbitmq_version"] == said.stdout.strip()
    said = subprocess.run([programs / "postgres", "-V"], capture_output=True, text=True, check=True)
    connection = psycopg2.connect(postgres.url_of("postgres"))
    running = str(connection.get_parameter_status("server_version"))
    connection.close()
    assert f"(PostgreSQL) {running}" in said.stdout


def test_a_program_first_on_path_is_taken_but_not_debians_script_that_changes_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given an own build first on PATH, I expect its programs
    own = pretend(tmp_path / "own", 99)
    (own / "rabbitmq-server").symlink_to("initdb")
    first_on_path(monkeypatch, own)
    assert rabbitmq_program("rabbitmq-server") == own / "rabbitmq-server"
    assert postgres_programs() == own
    # and where only Debian's script is on PATH, the program behind it.
    real = tmp_path / "debian"
    real.mkdir()
    (real / "rabbitmqctl").touch()
    monkeypatch.setattr(installed, "DEBIANS_RABBITMQ", real)
    monkeypatch.setattr(installed, "_CHANGE_USER", (str(own),))
    (own / "rabbitmqctl").symlink_to("initdb")
    assert rabbitmq_program("rabbitmqctl") == real / "rabbitmqctl"


@pytest.mark.parametrize("where", ["first on PATH", "as the newest of Debian's"])
def test_the_postgres_that_made_the_data_runs_them_whichever_comes_after(
    where: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given data of the PostgreSQL that is here
    server = PrivatePostgres(home / "postgres", home / "log")
    here, version = postgres_programs(), postgres_versions()[0]
    assert here is not None
    with started(server, installed=True):
        assert kept(server) == [(1,)]
    # If a newer one is installed
    if where == "first on PATH":
        first_on_path(monkeypatch, pretend(home / "newer", 99))
    else:
        off_path(monkeypatch, "initdb")
        debians = home / "postgresql"
        pretend(debians / "99" / "bin", 99)
        (debians / str(version)).mkdir()
        (debians / str(version) / "bin").symlink_to(here)
        monkeypatch.setattr(installed, "DEBIANS_POSTGRES", debians)
    assert 99 in postgres_versions()
    # I expect the old one to go on with its data.
    with started(server, installed=True):
        assert kept(server) == [(2,)]


def test_two_real_postgres_each_run_the_data_they_made(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = postgres_versions()
    if len(versions) < 2:
        pytest.skip("one PostgreSQL is here; `bin/test --servers sid` has two")
    folders = [postgres_programs(version) for version in versions]
    path = os.environ["PATH"]
    servers = [
        PrivatePostgres(home / f"of {version}", home / f"{version}.log") for version in versions
    ]
    for server, folder in zip(servers, folders, strict=True):
        # Given data of each, made while it was the first
        monkeypatch.setenv("PATH", f"{folder}:{path}")
        with started(server, installed=True):
            assert kept(server) == [(1,)]
    for starts, folder in enumerate(folders, 2):
        # I expect all to start again, whichever is the first now.
        monkeypatch.setenv("PATH", f"{folder}:{path}")
        for server in servers:
            with started(server, installed=True):
                assert kept(server) == [(starts,)]


def test_the_data_of_a_stopped_stack_move_to_another_postgres(home: Path) -> None:
    # Given a stack's database made by the older of two (where there are two), and stopped
    versions = sorted(postgres_versions())
    old, new = postgres_programs(versions[0]), postgres_programs(versions[-1])
    path = os.environ["PATH"]

    def hitl(*command: str, first: Path | None) -> str:
        """One of bin/hitl's commands in this home."""
        here = {**os.environ, "HITL_HOME": str(home), "PATH": f"{first}:{path}"}
        program = [sys.executable, "-P", "-m", "hitl", *command]
        done = subprocess.run(program, env=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def version_of(cluster: str) -> int:
        return int(Path((home / cluster / "location").read_text(), "PG_VERSION").read_text())

    server = PrivatePostgres(home / "postgres", home / "log")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATH", f"{old}:{path}")
        with started(server, installed=True):
            migrate(server.database_url)
    assert version_of("postgres") == versions[0]
    # If I follow docs/operate/upgrades.md
    folder = str(home / "before")
    assert "ledger up to block 0" in hitl("backup", "--database-only", folder, first=new)
    (home / "postgres").rename(home / "postgres.old")
    # I expect the other one to have them.
    assert "ledger up to block 0" in hitl("restore", folder, first=new)
    assert version_of("postgres") == versions[-1]


def test_a_backup_of_a_stack_that_never_was_makes_none(home: Path) -> None:
    here = {**os.environ, "HITL_HOME": str(home / "none")}
    program = [sys.executable, "-P", "-m", "hitl", "backup", "--database-only", str(home / "x")]
    done = subprocess.run(program, env=here, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no stack is running in" in done.stderr
    assert list(home.iterdir()) == []


def test_data_of_a_postgres_that_is_gone_are_left_alone_and_it_is_named(home: Path) -> None:
    # Given data, and the PostgreSQL that made them removed since
    server = PrivatePostgres(home / "postgres", home / "log", fast=True)
    with started(server, installed=True):
        pass
    made_by = home / "postgres" / "cluster" / "PG_VERSION"
    made_by.write_text("9\n")
    before = sorted(path.name for path in made_by.parent.iterdir())
    # I expect its name, what there is, and what to do
    versions = ", ".join(map(str, postgres_versions()))
    with pytest.raises(ServerError, match=rf"PostgreSQL 9's.*only {versions}.*postgresql-9"):
        server.start()
    # and every file where it was.
    assert sorted(path.name for path in made_by.parent.iterdir()) == before


def test_a_cluster_that_was_not_made_to_its_end_is_made_again(
    home: Path,
) -> None:
    # Given a first start that is killed once initdb has written the file that names the version
    version = postgres_versions()[0]
    slow = pretend(home / "slow", version)
    (slow / "initdb").write_text(
        f"#!/bin/sh\n[ $1 != --version ] || exec echo 'initdb (PostgreSQL) {version}.1'\n"
        f'echo {version} > "$2/PG_VERSION"\nexec sleep 60\n'
    )
    first = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from pathlib import Path; from hitl.servers.postgres import *;"
            "home = Path(sys.argv[1]); PrivatePostgres(home / 'postgres', home / 'log').start()",
            str(home),
        ],
        env={**os.environ, "PATH": f"{slow}:{os.environ['PATH']}"},
        start_new_session=True,
    )
    until(lambda: any((home / "postgres").glob("*/PG_VERSION")), what="initdb at work")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    # I expect the next start to begin anew.
    server = PrivatePostgres(home / "postgres", home / "log", fast=True)
    with started(server, installed=True):
        assert kept(server) == [(1,)]


def rabbitmq_that(folder: Path, version: str, said: str) -> Path:
    """A RabbitMQ that knows its version, says something, and ends."""
    server = folder / f"rabbitmq_server-{version}" / "sbin" / "rabbitmq-server"
    server.parent.mkdir(parents=True)
    server.write_text(f"#!/bin/sh\necho '{said}'\nexit 1\n")
    server.chmod(0o755)
    return server.parent


def test_data_of_an_older_rabbitmq_are_refused_in_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given what 4.3.6 says of data that 3.10.8 has written, at its end
    said = (
        "Kernel pid terminated (application_controller) ({application_start_failure,rabbit,"
        "{{failed_to_initialize_feature_flags_registry,{disabled_required_feature_flag,"
        "message_containers}},{rabbit,start,[normal,[]]}}})"
    )
    first_on_path(monkeypatch, rabbitmq_that(tmp_path, "4.3.6", said))
    server = PrivateRabbitMQ(tmp_path / "home", tmp_path / "log", fast=True)
    server.start()
    # If it is waited for, I expect to hear what is wrong and what to do, at the first try
    with pytest.raises(ServerError, match="by an older RabbitMQ") as refused:
        server.wait_ready()
    assert "docs/operate/upgrades.md" in str(refused.value)
    assert "Kernel pid" not in str(refused.value)
    assert (tmp_path / "log").read_text().count("Kernel pid") == 1


def test_data_of_a_newer_rabbitmq_are_not_started_with_an_older_one(
    rabbitmq: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given that a node keeps the version that ran it
    here = rabbitmq.api.get("/overview").json()["rabbitmq_version"]
    assert (rabbitmq.server.home / "version").read_text() == here
    # If data of a newer series are there
    server = PrivateRabbitMQ(tmp_path / "home", tmp_path / "log", fast=True)
    server.home.mkdir()
    (server.home / "version").write_text("99.1.0")
    # I expect it not even to try: 3.10 would start on data of 4.3, and show empty queues
    with pytest.raises(ServerError, match=r"99\.1\.0"):
        server.start()
    assert server.pid is None
    # and one of the same series, older or newer, to be started
    major, minor = here.split(".")[:2]
    (server.home / "version").write_text(f"{major}.{minor}.99")
    with started(server, installed=True):
        pass
