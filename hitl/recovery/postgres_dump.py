"""Runs pg_dump and pg_restore, and follows what they do.

The password goes by the environment of the child, which only the same user can read; never by its
command line, which everybody can.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, make_url, text

from hitl.servers.installed import postgres_programs
from services.logger.ledger import utc_text
from shared.errors import HitlError
from shared.storage.database import connect, database_errors

Show = Callable[[str], None]
SHOWN_CHARACTERS = 60
_HEAD = text("SELECT height, block_hash, created_at FROM ledger_block ORDER BY height DESC LIMIT 1")
_IN_USE = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


def dump(database_url: str, file: Path, show: Show) -> dict[str, Any]:
    """Writes pg_dump's custom format, and says what it holds: events, the ledger's head, the
    schema's revision, all of the very snapshot that was dumped.

    Raises:
        HitlError: pg_dump is missing or failed, or the database has no ledger.
        Overloaded: the database is away.
    """
    engine = connect(database_url, pool_size=1, application="hitl-backup")
    try:
        with database_errors(), engine.connect() as connection:
            reading = connection.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            reading.execute(text("SET LOCAL statement_timeout = 0"))
            snapshot = reading.execute(text("SELECT pg_export_snapshot()")).scalar_one()
            command = ["--format=custom", f"--snapshot={snapshot}", f"--file={file}"]
            command += [f"--dbname={_address(database_url)}"]
            _run("pg_dump", [*command, "--verbose"], engine, show)
            return {
                "events": reading.execute(text("SELECT count(*) FROM event")).scalar_one(),
                "ledger_head": head(reading),
                "revision": reading.execute(
                    text("SELECT version_num FROM alembic_version")
                ).scalar_one(),
                "postgres": reading.execute(text("SHOW server_version")).scalar_one(),
            }
    finally:
        engine.dispose()


def restore(database_url: str, file: Path, show: Show) -> dict[str, Any]:
    """Fills an empty database, in one transaction; the head of the ledger that is there now.

    Raises:
        HitlError: the database is not empty, or pg_restore is missing or failed: nothing is there.
        Overloaded: the database is away.
    """
    engine = connect(database_url, pool_size=1, application="hitl-restore")
    try:
        with database_errors(), engine.connect() as connection:
            if connection.execute(_IN_USE).scalar_one():
                raise HitlError(
                    f"{engine.url.database} on {engine.url.host} has tables: restore into a new"
                    " database, and let DATABASE_URL name it (for a private one: `hitl down`, then"
                    " move HITL_HOME/postgres away)"
                )
        command = [
            "--exit-on-error",
            "--single-transaction",
            "--no-owner",
            "--no-privileges",
            "--verbose",
        ]
        target = _address(database_url)
        _run("pg_restore", [*command, f"--dbname={target}", str(file)], engine, show)
        with database_errors(), engine.connect() as connection:
            connection.execute(text("ANALYZE"))  # the planner knows nothing of a restored database
            connection.commit()
            return head(connection)
    finally:
        engine.dispose()


def head(connection: Connection) -> dict[str, Any]:
    """The newest block, as `hitl audit head` writes it."""
    found = connection.execute(_HEAD).one_or_none()
    if found is None:
        raise HitlError("block 0 is missing: there is no ledger")
    return {
        "height": found.height,
        "block_hash": bytes(found.block_hash).hex(),
        "created_at": utc_text(found.created_at),
    }


def _address(database_url: str) -> str:
    """libpq's form, with all options, without the password."""
    url = make_url(database_url).set(drivername="postgresql", password=None)
    return url.render_as_string(hide_password=False)


# What Postgres puts under an error quotes the row: a person's text, maybe in a mail of cron.
_QUOTING = ("CONTEXT:", "DETAIL:", "QUERY:", "LINE ")


def _run(program: str, arguments: list[str], engine: Engine, show: Show) -> None:
    """Runs one of Postgres' programs and shows each thing that it begins with.

    Of the server's own version, if it is here: an older pg_dump refuses a newer server, and what a
    newer pg_restore says an older server does not understand.
    """
    version = engine.dialect.server_version_info or (0,)
    found = postgres_programs(int(version[0])) or postgres_programs()
    path = shutil.which(program, path=str(found)) if found else shutil.which(program)
    if path is None:
        raise HitlError(f"{program} is not installed (Debian: postgresql-client)")
    environment = {**os.environ, "PGPASSWORD": engine.url.password or ""}
    last: list[str] = []
    with subprocess.Popen(
        [path, *arguments], env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as child:
        for line in child.stderr or ():
            said = line.strip().removeprefix(f"{program}: ")
            if said.startswith(_QUOTING):
                continue
            last = [*last, said][-3:]
            show(said[:SHOWN_CHARACTERS])
    if child.returncode:
        raise HitlError(f"{program} failed: {' / '.join(last)}")
