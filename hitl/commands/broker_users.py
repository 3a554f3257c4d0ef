"""The services' users, as RabbitMQ imports them. `hitl broker-users`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hitl.access.broker_users import USERS, definitions, passwords_in
from shared.errors import HitlError

app = typer.Typer(add_completion=False)


@app.command()
def broker_users(
    passwords: Annotated[
        Path, typer.Argument(help="Folder with a password for each user, in a file of its name.")
    ],
) -> None:
    """Print RabbitMQ's users and their rights: for `rabbitmqctl import_definitions`."""
    try:
        typer.echo(json.dumps(definitions(passwords_in(passwords, USERS)), indent=1))
    except HitlError as error:
        typer.echo(f"Cannot do this: {error}", err=True)
        raise typer.Exit(1) from None
