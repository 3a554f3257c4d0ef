"""`hitl prepare`: creates what the services need before they start.

The tables and their rights, the exchanges and queues, and the first account of the review page. It
runs as the owner of the database and of the broker's virtual host.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from hitl.access.broker_users import passwords_in
from hitl.access.database_roles import RIGHTS, set_rights
from hitl.recovery.broker_rights import give_back
from hitl.support.connection import given_api_url
from hitl.support.database import errors_as_one_line
from hitl.support.first_reviewer import FIRST_REVIEWER, ensure_first_reviewer, no_account_exists
from shared.messaging.connection import declare_all
from shared.service.settings import Settings
from shared.storage.migration import migrate
from shared.topology import topology
from shared.workflows.files import configured_workflows

app = typer.Typer(add_completion=False)


@app.command()
def prepare(
    reviewer_password: Annotated[
        Path | None,
        typer.Option(
            help="Create the first account if there is none, with the password in this file (also"
            " created)."
        ),
    ] = None,
    roles: Annotated[
        Path | None,
        typer.Option(help="Folder with a password for each Postgres role, in a file of its name."),
    ] = None,
) -> None:
    """Prepare a database and a broker for the services; safe to repeat."""
    with errors_as_one_line():
        settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
        workflows = tuple(configured_workflows(settings))
        database_url = settings.database_url.get_secret_value()
        typer.echo("Bringing the database's tables up to date …")
        migrate(database_url)
        for role in set_rights(database_url, passwords_in(roles, RIGHTS) if roles else {}):
            typer.echo(f"Granted {role} its rights")
        if reviewer_password is None:
            if no_account_exists(database_url):
                typer.echo(
                    "No account for the review page yet: `hitl reviewer add NAME --role admin`"
                )
        elif ensure_first_reviewer(database_url, reviewer_password):
            typer.echo(
                f"Created the account {FIRST_REVIEWER}; its password is in {reviewer_password}"
            )
        typer.echo("Declaring the exchanges and queues …")
        shape = topology(workflows, settings.retry_delays_seconds)
        broker_url = settings.amqp_url.get_secret_value()
        for name, why in declare_all(broker_url, shape).items():
            problem = "is not served, its queues cannot be declared"
            typer.echo(f"Workflow {name} {problem}: {why}", err=True)
        if (api_url := given_api_url(os.environ)) is not None:
            for user in give_back(api_url, broker_url):
                typer.echo(f"RabbitMQ restricts {user} to its routing keys again")
