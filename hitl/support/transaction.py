"""How does a command change the database, and what does it say when it cannot?"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from sqlalchemy.orm import Session

from hitl.support.connection import database_url
from shared.errors import HitlError
from shared.storage.database import connect, database_errors


@contextmanager
def transaction() -> Iterator[Session]:
    """A transaction; what goes wrong becomes one line and exit code 1."""
    try:
        engine = connect(database_url(os.environ), pool_size=1, application="hitl-cli")
        try:
            with database_errors(), Session(engine) as session, session.begin():
                yield session
        finally:
            engine.dispose()
    except HitlError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
