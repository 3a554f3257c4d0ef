"""`hitl prepare`: the job that makes what must be there before the services start.

The tables, who may touch them, the exchanges and queues, and somebody who can log in to the review
page. It runs as the owner of the database and of the broker's virtual host.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from hitl.access.broker_users import passwords_in
from hitl.access.database_roles import RIGHTS, set_rights
from hitl.recovery.broker_rights import give_back
from hitl.support.connection import given_api_url
from hitl.support.first_reviewer import (
    FIRST_REVIEWER,
    ensure_first_reviewer,
    nobody_has_an_account,
)
from shared.errors import HitlError
from shared.messaging.connection import declare_all
from shared.service.settings import Settings
from shared.storage.database import database_errors, migrate
from shared.topology import topology
from shared.workflows.files import configured_workflows

NOBODY = "Nobody can log in to the review page yet"

app = typer.Typer(add_completion=False)


@app.command()
def prepare(
    reviewer_password: Annotated[
        Path | None,
        typer.Option(
            help="Where there is no account, make the first one, with the password in this file;"
            " made where there is none."
        ),
    ] = None,
    roles: Annotated[
        Path | None,
        typer.Option(help="Folder with a password for each Postgres role, in a file of its name."),
    ] = None,
) -> None:
    """Bring a database and a broker to where the services can start; safe to repeat."""
    try:
        settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
        workflows = tuple(configured_workflows(settings))
        database_url = settings.database_url.get_secret_value()
        typer.echo("Bringing the database's tables up to date …")
        with database_errors():
            migrate(database_url)
            for role in set_rights(database_url, passwords_in(roles, RIGHTS) if roles else {}):
                typer.echo(f"{role} may do what it needs")
            if reviewer_password is None:
                if nobody_has_an_account(database_url):
                    typer.echo(f"{NOBODY}: `hitl reviewer add NAME --role admin`")
            elif ensure_first_reviewer(database_url, reviewer_password):
                made = f"Made the account {FIRST_REVIEWER}; its password is in {reviewer_password}"
                typer.echo(made)
        typer.echo("Declaring the exchanges and queues …")
        shape = topology(workflows, settings.retry_delays_seconds)
        broker_url = settings.amqp_url.get_secret_value()
        for name, why in declare_all(broker_url, shape).items():
            typer.echo(f"Not declared, and not served: workflow {name}: {why}", err=True)
        if (api_url := given_api_url(os.environ)) is not None:
            for user in give_back(api_url, broker_url):
                typer.echo(f"RabbitMQ holds {user} to its routing keys again")
    except HitlError as error:
        typer.echo(f"Cannot prepare: {error}", err=True)
        raise typer.Exit(1) from None
