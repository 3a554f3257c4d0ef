"""Which passwords lie in a folder, one in a file of its user's name? And `hitl broker-users`, which
turns them into what RabbitMQ imports."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from hitl.access.broker_users import USERS, definitions
from shared.errors import ConfigurationError, HitlError

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


def passwords_in(folder: Path, names: Collection[str]) -> dict[str, str]:
    """The password in each file, by its name.

    Raises:
        ConfigurationError: the folder cannot be read, or a file has none of these names.
    """
    try:
        # A secret that Kubernetes mounts has links that begin with a dot.
        files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
        found = {file.name: file.read_text().strip() for file in files}
    except OSError as error:
        raise ConfigurationError(f"no passwords: {error}") from None
    if unknown := sorted(found.keys() - set(names)):
        raise ConfigurationError(f"{folder}: nobody is called {', '.join(unknown)}")
    return found
