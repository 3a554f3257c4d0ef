"""`hitl reviewer add|list|limit|…`: who may log in to the review page."""

import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hitl.support.database import transaction
from hitl.support.known_workflows import completed, existing_workflows
from services.review_ui.auth.accounts import Accounts, everyone
from shared.clock import utc_now
from shared.errors import ConfigurationError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="The accounts of the review page."
)
SHORT_PASSWORD = 8  # fewer characters are accepted with a warning (NIST SP 800-63B, 3.1.1.2)


class Role(StrEnum):
    """What an account may do: review; also settle disputes; also administer."""

    reviewer = "reviewer"
    lead = "lead"
    admin = "admin"


Name = Annotated[str, typer.Argument(help="The name to log in with.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin, not from a prompt.")
]


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--workflow",
        help="Only this workflow; may be repeated. Default: all.",
        autocompletion=completed,
    ),
]


@app.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the account may do.")] = Role.reviewer,
    workflow: Only = None,
    password_stdin: FromStdin = False,
) -> None:
    """Create an account."""
    with transaction() as session:
        only = existing_workflows(workflow)
        Accounts(utc_now).create(session, name, role.value, _password(password_stdin), only)
    typer.echo(f"{name} may log in as {role.value}{_for(only)}.")


@app.command()
def limit(name: Name, workflow: Only = None) -> None:
    """Restrict a reviewer to these workflows at once; without --workflow, allow all."""
    with transaction() as session:
        only = existing_workflows(workflow)
        Accounts(utc_now).limit(session, name, only)
    typer.echo(f"{name} reviews{_for(only) or ' for every workflow'}.")


@app.command("list")
def list_accounts() -> None:
    """Show all accounts."""
    table = Table("Name", "Role", "Workflows", "State")
    with transaction() as session:
        for account in everyone(session):
            only = "all" if account.workflows is None else ", ".join(sorted(account.workflows))
            state = "disabled" if account.disabled else "active"
            table.add_row(account.name, account.role, only, state)
    Console().print(table)


@app.command()
def disable(name: Name) -> None:
    """Close an account and end its sessions; its decisions stay."""
    with transaction() as session:
        Accounts(utc_now).disable(session, name)
    typer.echo(f"{name} can no longer log in.")


@app.command()
def password(name: Name, password_stdin: FromStdin = False) -> None:
    """Set a new password and end the account's sessions."""
    with transaction() as session:
        Accounts(utc_now).set_password(session, name, _password(password_stdin))
    typer.echo(f"{name} has a new password.")


def _for(workflows: list[str]) -> str:
    return f" for {', '.join(workflows)}" if workflows else ""


def _password(from_stdin: bool) -> str:
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise ConfigurationError("no terminal to ask for a password: use --password-stdin")
    else:
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    if 0 < len(given) < SHORT_PASSWORD:
        typer.echo(f"Warning: a password of fewer than {SHORT_PASSWORD} characters.", err=True)
    return str(given)
