"""Can PgBouncer stand before Postgres? By session, with all that we rely on; else it is said.

A real PgBouncer (Debian's package) before the test's own database.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from hitl.servers.ports import free_ports
from services.feedback.certificate.leader import Leader
from shared.errors import Overloaded
from shared.storage.database import connect
from shared.storage.migration import migrate
from tests.conftest import cannot_run
from tests.support.amqp_client import until


@contextmanager
def pgbouncer(database_url: str, mode: str) -> Iterator[str]:
    """The address of a PgBouncer that leads to that database."""
    if shutil.which("pgbouncer") is None:
        cannot_run("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    url = make_url(database_url)
    [port] = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="hitl-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users").write_text(f'"{url.username}" "{url.password}"\n')
        (folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host={url.host} port={url.port}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {folder / 'users'}\n"
            f"pool_mode = {mode}\n"
        )
        # It refuses to run as root.
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                ["pgbouncer", folder / "pgbouncer.ini"], stdout=log, stderr=log, user=user
            )
        try:
            until(
                lambda: f"listening on 127.0.0.1:{port}" in (folder / "log").read_text(),
                seconds=20,
                what="PgBouncer",
            )
            yield url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(20)


def test_by_session_everything_that_we_rely_on_works(database_url: str) -> None:
    with pgbouncer(database_url, "session") as url:
        # Given the schema brought up through it, which takes a lock for a session
        migrate(url)
        engine = connect(url, application="hitl-test")
        other = connect(url)
        try:
            with engine.connect() as connection:
                # I expect a connection's limits and time zone as without it,
                for name, value in (
                    ("statement_timeout", "30s"),
                    ("lock_timeout", "10s"),
                    ("timezone", "UTC"),
                    ("application_name", "hitl-test"),
                ):
                    assert connection.scalar(text(f"SHOW {name}")) == value, name
            # also after a transaction that was given up, or that set its own
            with engine.connect() as connection:
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.rollback()
                assert connection.scalar(text("SHOW statement_timeout")) == "30s"
                # and rows that are read in portions, by a cursor at the server,
                rows = connection.execute(
                    text("SELECT generate_series(1, 5000)"),
                    execution_options={"stream_results": True, "max_row_buffer": 100},
                )
                assert sum(number for (number,) in rows) == 12_502_500
            # and one leader of two, whose lock ends when it resigns.
            with closing(Leader(engine)) as first, closing(Leader(other)) as second:
                assert first.leads() is not None
                assert second.leads() is None
                first.close()
                until(lambda: second.leads() is not None, seconds=10, what="the other leads")
        finally:
            engine.dispose()
            other.dispose()


def test_a_pool_by_transaction_is_noticed_before_two_lead(database_url: str) -> None:
    # Given a PgBouncer that hands one connection to several programs by turns, which makes a lock
    # of one the lock of all
    with pgbouncer(database_url, "transaction") as url:
        engines = connect(url), connect(url)
        try:
            with closing(Leader(engines[0])) as first, closing(Leader(engines[1])) as second:
                assert first.leads() is not None
                # If another one asks / I expect whoever led to notice, and to say what is wrong.
                second.leads()
                with pytest.raises(Overloaded, match="pool_mode = session"):
                    first.leads()
        finally:
            for engine in engines:
                engine.dispose()
