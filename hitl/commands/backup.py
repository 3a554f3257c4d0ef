"""`hitl backup`, `hitl restore`: what must survive the loss of a server, out and in again.

pg_dump of the database and the broker's definitions (users, rights, policies, queues), in one new
folder with checksums. How that is kept which comes after the dump: docs/operate/backups.md.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hitl.recovery import postgres_dump
from hitl.recovery.checksums import verify, write_checksums
from hitl.recovery.definitions import export_definitions, import_definitions
from hitl.support.connection import api_url, database_at_hand
from hitl.support.database import problems_named
from shared.clock import utc_now
from shared.errors import ConfigurationError, HitlError
from shared.release import package_version

app = typer.Typer(add_completion=False)

DUMP, DEFINITIONS, ABOUT = "database.dump", "definitions.json", "backup.json"
# No dump has them: the roles of Postgres are the server's, and so is what they may do.
AFTER = (
    "Next, before any service starts: `hitl prepare --roles FOLDER` makes the services' roles again"
    " and says what each may do (without --roles where they are there, or one user serves all);"
    " then `hitl rebuild --queues`."
)
AFTER_PRIVATE = (
    "Next: `hitl up --no-demo`, which makes the roles, and at once `hitl rebuild --queues`."
)
DatabaseOnly = Annotated[
    bool, typer.Option("--database-only", help="Without the broker's definitions.")
]


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    database_only: DatabaseOnly = False,
) -> None:
    """Write the database and the broker's definitions into a new folder; everything goes on.

    The database of a stopped stack, too, alone.
    """
    with problems_named():
        if folder.exists():
            raise HitlError(f"{folder} exists already: a backup goes into a new folder")
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            with (
                database_at_hand(may_make=False) as (address, private),
                following("dumping the database") as show,
            ):
                # A private broker is told its definitions at each start.
                broker = None if database_only or private else management()
                unfinished.mkdir(parents=True, mode=0o700)  # texts of people, hashes of passwords
                held = postgres_dump.dump(address, unfinished / DUMP, show)
            if broker is not None:
                definitions = export_definitions(broker)
                (unfinished / DEFINITIONS).write_text(json.dumps(definitions, indent=1))
            about = {"made_at": utc_now().isoformat(), "release": package_version(), **held}
            (unfinished / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
            write_checksums(unfinished)
            unfinished.rename(folder)
        finally:  # a half of it would keep a full disk full
            shutil.rmtree(unfinished, ignore_errors=True)
    head = held["ledger_head"]
    typer.echo(f"{folder}: {held['events']} events, ledger up to block {head['height']}")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="What `hitl backup` wrote.", exists=True)],
    database_only: DatabaseOnly = False,
) -> None:
    """Fill an empty database from a backup, and tell the broker its definitions.

    Before the services start: docs/operate/backups.md has the whole order.
    """
    with problems_named():
        verify(folder)
        about = json.loads((folder / ABOUT).read_text())
        with database_at_hand() as (address, private), following("restoring the database") as show:
            # A private broker is told its definitions at each start.
            told = (folder / DEFINITIONS).exists() and not (database_only or private)
            broker = management() if told else None
            found = postgres_dump.restore(address, folder / DUMP, show)
        if found != about["ledger_head"]:
            raise HitlError(f"restored, but the ledger ends at {found}, not {about['ledger_head']}")
        if broker is not None:
            import_definitions(broker, json.loads((folder / DEFINITIONS).read_text()))
    typer.echo(
        f"restored as of {about['made_at']}: {about['events']} events, ledger up to block"
        f" {found['height']}. What came later: see docs/operate/backups.md."
    )
    typer.echo(AFTER_PRIVATE if private else AFTER)


def management() -> str:
    """The broker's API; where nobody has named it, what else can be done."""
    try:
        return api_url(os.environ)
    except ConfigurationError as error:
        raise HitlError(f"{error}; --database-only leaves the broker out") from None


@contextmanager
def following(what: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that says what is being done just now."""
    columns = (
        SpinnerColumn(),
        TextColumn(what),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None, now="")
        yield lambda now: bar.update(task, now=now)
