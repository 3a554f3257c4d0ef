"""`hitl migrate`: upgrades the database's schema, or downgrades it before an older release starts
(docs/operate/upgrades.md)."""

from typing import Annotated

import typer

from hitl.support.connection import database_at_hand
from hitl.support.database import engine, errors_as_one_line
from shared.storage.migration import migrate, undone_by

app = typer.Typer(add_completion=False)


@app.command("migrate")
def migrate_to(
    to: Annotated[str, typer.Option(help="The revision, such as 0009.")] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Downgrade without asking.")] = False,
) -> None:
    """Upgrade or downgrade the schema to a revision; asks before a downgrade.

    All steps or none; one program at a time; without a time limit.
    """
    with errors_as_one_line(code=2), database_at_hand() as (address, _):
        with engine("hitl-migrate", address=address) as database, database.connect() as connection:
            undone = undone_by(connection, to)
        for step in undone:
            typer.echo(f"undoes {step.revision}: {' '.join(step.doc.split())}")
        if undone and not yes:
            typer.confirm("Data that only these revisions store is lost. Continue?", abort=True)
        migrate(address, to)
    typer.echo(f"The schema is at {to}.")
