"""`hitl broker-users`: prints the services' users, as RabbitMQ imports them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hitl.access.broker_users import USERS, definitions, passwords_in
from hitl.support.database import errors_as_one_line

app = typer.Typer(add_completion=False)


@app.command()
def broker_users(
    passwords: Annotated[
        Path, typer.Argument(help="Folder with a password for each user, in a file of its name.")
    ],
) -> None:
    """Print RabbitMQ's users and their rights: for `rabbitmqctl import_definitions`."""
    with errors_as_one_line():
        typer.echo(json.dumps(definitions(passwords_in(passwords, USERS)), indent=1))
