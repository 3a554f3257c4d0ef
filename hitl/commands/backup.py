"""`hitl backup`, `hitl restore`: saves what must survive the loss of a server, and restores it.

pg_dump of the database and the broker's definitions (users, rights, policies, queues), in one new
folder with checksums. How that is kept which comes after the dump: docs/operate/backups.md.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from hitl.recovery import postgres_dump
from hitl.recovery.checksums import verify, write_checksums
from hitl.support.connection import api_url, database_at_hand
from hitl.support.database import errors_as_one_line
from hitl.support.management_api import get, import_definitions
from hitl.support.progress import spinner
from shared.clock import utc_now
from shared.errors import ConfigurationError, HitlError
from shared.release import package_version

app = typer.Typer(add_completion=False)

DUMP, DEFINITIONS, ABOUT = "database.dump", "definitions.json", "backup.json"
# The roles of Postgres and their rights are the server's: no dump has them.
AFTER = (
    "Next, before any service starts: `hitl prepare --roles FOLDER` creates the services' roles and"
    " grants their rights (without --roles where they exist, or one user serves all);"
    " then `hitl rebuild --queues`."
)
AFTER_PRIVATE = (
    "Next: `hitl up --no-demo`, which creates the roles, and at once `hitl rebuild --queues`."
)
DatabaseOnly = Annotated[
    bool, typer.Option("--database-only", help="Without the broker's definitions.")
]


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    database_only: DatabaseOnly = False,
) -> None:
    """Write the database and the broker's definitions into a new folder, while everything runs.

    Of a stopped stack, the database alone.
    """
    with errors_as_one_line(code=2):
        if folder.exists():
            raise HitlError(f"{folder} exists already: a backup goes into a new folder")
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            with (
                database_at_hand(may_make=False) as (address, private),
                spinner("dumping the database") as show,
            ):
                # A private broker imports its definitions at each start.
                broker = None if database_only or private else management()
                unfinished.mkdir(parents=True, mode=0o700)  # texts of people, hashes of passwords
                held = postgres_dump.dump(address, unfinished / DUMP, show)
            if broker is not None:
                definitions = get(broker, "definitions")
                (unfinished / DEFINITIONS).write_text(json.dumps(definitions, indent=1))
            about = {"made_at": utc_now().isoformat(), "release": package_version(), **held}
            (unfinished / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
            write_checksums(unfinished)
            unfinished.rename(folder)
        finally:  # a partial backup would keep a full disk full
            shutil.rmtree(unfinished, ignore_errors=True)
    head = held["ledger_head"]
    typer.echo(f"{folder}: {held['events']} events, ledger up to block {head['height']}")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="What `hitl backup` wrote.", exists=True)],
    database_only: DatabaseOnly = False,
) -> None:
    """Fill an empty database from a backup, and import the broker's definitions.

    Before the services start: docs/operate/backups.md has the whole order.
    """
    with errors_as_one_line(code=2):
        verify(folder)
        about = json.loads((folder / ABOUT).read_text())
        with database_at_hand() as (address, private), spinner("restoring the database") as show:
            # A private broker imports its definitions at each start.
            wanted = (folder / DEFINITIONS).exists() and not (database_only or private)
            broker = management() if wanted else None
            found = postgres_dump.restore(address, folder / DUMP, show)
        if found != about["ledger_head"]:
            raise HitlError(f"restored, but the ledger ends at {found}, not {about['ledger_head']}")
        if broker is not None:
            import_definitions(broker, json.loads((folder / DEFINITIONS).read_text()))
    typer.echo(
        f"restored as of {about['made_at']}: {about['events']} events, ledger up to block"
        f" {found['height']}. For later data see docs/operate/backups.md."
    )
    typer.echo(AFTER_PRIVATE if private else AFTER)


def management() -> str:
    """The broker's management API.

    Raises:
        HitlError: its address is not known; the text names the way without it.
    """
    try:
        return api_url(os.environ)
    except ConfigurationError as error:
        raise HitlError(f"{error}, or leave the broker out by --database-only") from None
