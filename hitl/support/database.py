"""The database of a command, and its errors as one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hitl.support.connection import database_url
from hitl.support.terminal import refuse
from shared.errors import HitlError
from shared.storage.database import connect, database_errors


@contextmanager
def engine(
    application: str = "hitl-cli", *, address: str | None = None, connections: int = 1
) -> Iterator[Engine]:
    """The database at `address`, else the command line's, for the length of the block.

    Raises:
        HitlError: there is no address, or it is none.
    """
    url = database_url(os.environ) if address is None else address
    database = connect(url, pool_size=connections, application=application)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """A transaction; an error becomes one line and exit code 1."""
    with errors_as_one_line(), engine() as database, Session(database) as session, session.begin():
        yield session


@contextmanager
def errors_as_one_line(code: int = 1) -> Iterator[None]:
    """Ends the command with one line and this exit code, where something cannot be read or reached.
    2 is for checks: 1 is a finding there."""
    try:
        with database_errors():
            yield
    except (HitlError, OSError) as error:
        refuse(str(error), code=code)
