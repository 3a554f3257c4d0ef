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

from sqlalchemy import Engine, text

from hitl.ledger.records import head, snapshot
from hitl.servers.installed import postgres_programs
from hitl.support.database import engine
from shared.errors import HitlError
from shared.storage.database import database_errors

Show = Callable[[str], None]
SHOWN_CHARACTERS = 60
_IN_USE = text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")


def dump(database_url: str, file: Path, show: Show) -> dict[str, Any]:
    """Writes pg_dump's custom format, and returns what it holds: events, the ledger's head, the
    schema's revision, all of the very snapshot that was dumped.

    Raises:
        HitlError: pg_dump is missing or failed, or the database has no ledger.
        Overloaded: the database is unreachable.
    """
    with engine("hitl-backup", address=database_url) as database, snapshot(database) as reading:

        def one(statement: str) -> Any:
            return reading.execute(text(statement)).scalar_one()

        options = [f"--snapshot={one('SELECT pg_export_snapshot()')}", f"--file={file}"]
        _run("pg_dump", ["--format=custom", *options], database, show)
        return {
            "events": one("SELECT count(*) FROM event"),
            "ledger_head": head(reading),
            "revision": one("SELECT version_num FROM alembic_version"),
            "postgres": one("SHOW server_version"),
        }


def restore(database_url: str, file: Path, show: Show) -> dict[str, Any]:
    """Fills an empty database, in one transaction; returns the head of its ledger.

    Raises:
        HitlError: the database is not empty, or pg_restore is missing or failed; nothing was
            restored.
        Overloaded: the database is unreachable.
    """
    with engine("hitl-restore", address=database_url) as database, database_errors():
        with database.connect() as connection:
            if connection.execute(_IN_USE).scalar_one():
                raise HitlError(
                    f"{database.url.database} on {database.url.host} has tables: restore into a new"
                    " database, and set DATABASE_URL to it (for a private one: `hitl down`, then"
                    " move HITL_HOME/postgres away)"
                )
        options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
        _run("pg_restore", [*options, str(file)], database, show)
        with database.connect() as connection:
            connection.execute(text("ANALYZE"))  # the planner knows nothing of a restored database
            connection.commit()
            return head(connection)


# Below an error Postgres quotes the row: a person's text, perhaps in a mail of cron.
_QUOTING = ("CONTEXT:", "DETAIL:", "QUERY:", "LINE ")


def _run(program: str, arguments: list[str], database: Engine, show: Show) -> None:
    """Runs one of Postgres' programs and shows its steps.

    Of the server's own version where that is installed: an older pg_dump refuses a newer server,
    and an older server does not understand a newer pg_restore.
    """
    version = database.dialect.server_version_info or (0,)
    found = postgres_programs(int(version[0])) or postgres_programs()
    path = shutil.which(program, path=str(found)) if found else shutil.which(program)
    if path is None:
        raise HitlError(f"{program} is not installed (Debian: postgresql-client)")
    # libpq's form, with all options; the password goes by the environment.
    address = database.url.set(drivername="postgresql", password=None).render_as_string(False)
    environment = {**os.environ, "PGPASSWORD": database.url.password or ""}
    last: list[str] = []
    with subprocess.Popen(
        [path, f"--dbname={address}", "--verbose", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        for line in child.stderr or ():
            said = line.strip().removeprefix(f"{program}: ")
            if said.startswith(_QUOTING):
                continue
            last = [*last, said][-3:]
            show(said[:SHOWN_CHARACTERS])
    if child.returncode:
        raise HitlError(f"{program} failed: {' / '.join(last)}")
