"""`hitl migrate`: brings the database's schema to today's revision, or back to an older
one before an older release starts (docs/operate/upgrades.md)."""

from typing import Annotated

import typer

from hitl.support.connection import database_at_hand
from hitl.support.database import problems_named
from shared.storage.database import connect, migrate, undone_by

app = typer.Typer(add_completion=False)


@app.command("migrate")
def migrate_to(
    to: Annotated[str, typer.Option(help="The revision: 0009, say.")] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Go back without asking.")] = False,
) -> None:
    """Bring the schema up or down to a revision; asks before it takes a step back.

    All steps or none; one program at a time; nothing limits how long it may take.
    """
    with problems_named(), database_at_hand() as (address, _):
        engine = connect(address, pool_size=1, application="hitl-migrate")
        try:
            with engine.connect() as connection:
                back = undone_by(connection, to)
        finally:
            engine.dispose()
        for step in back:
            typer.echo(f"takes back {step.revision}: {' '.join(step.doc.split())}")
        if back and not yes:
            typer.confirm("What only these have a place for is lost. Go on?", abort=True)
        migrate(address, to)
    typer.echo(f"The schema is at {to}.")
