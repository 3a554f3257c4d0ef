"""`hitl token create|list|revoke`: which programs may call the API."""

from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hitl.support.database import transaction
from hitl.support.known_workflows import completed, existing_workflows
from services.review_ui.auth import tokens
from services.review_ui.auth.tokens import SCOPES, Token
from shared.clock import utc_now

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Bearer tokens for programs that call the API."
)

Name = Annotated[str, typer.Argument(help="The name of the program that will use it.")]


@app.command()
def create(
    name: Name,
    scope: Annotated[list[str], typer.Option(help=f"May be repeated: {', '.join(SCOPES)}.")],
    days: Annotated[
        int, typer.Option(min=0, max=3650, help="Valid for so many days; 0: until revoked.")
    ] = 90,
    workflow: Annotated[
        list[str] | None,
        typer.Option(
            help="Valid for this workflow only; may be repeated. Default: all.",
            autocompletion=completed,
        ),
    ] = None,
) -> None:
    """Create a token and print it, this once; only its hash is stored."""
    lifetime = timedelta(days=days) if days else None
    with transaction() as session:
        only = existing_workflows(workflow)
        secret = tokens.create(
            session, name, scope, now=utc_now(), lifetime=lifetime, workflows=only
        )
    until = f"for {days} days" if days else "until it is revoked"
    typer.echo(f"Valid {until}. Store it safely: it is not shown again.", err=True)
    typer.echo(secret)


@app.command("list")
def list_tokens() -> None:
    """Show all tokens: their prefix, scopes and state."""
    table = Table("Name", "Prefix", "Scopes", "Workflows", "State", "Last used")
    with transaction() as session:
        for token in tokens.everything(session):
            used = token.last_used_at
            table.add_row(
                token.name,
                f"{token.prefix}…",
                " ".join(sorted(token.scopes)),
                "all" if token.workflows is None else ", ".join(sorted(token.workflows)),
                _state(token),
                "never" if used is None else f"{used:%Y-%m-%d %H:%M}",
            )
    Console().print(table)


@app.command()
def revoke(name: Name) -> None:
    """Revoke a token at once; what was done with it stays."""
    with transaction() as session:
        tokens.revoke(session, name, utc_now())
    typer.echo(f"The token {name} is revoked.")


def _state(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.expires_at is None:
        return "active"
    expired = token.expires_at <= utc_now()
    return f"{'expired' if expired else 'active until'} {token.expires_at:%Y-%m-%d}"
