"""The database of a command: an engine or a transaction, and what is said where there is none."""

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
def engine() -> Iterator[Engine]:
    """The database, over one connection."""
    database = connect(database_url(os.environ), pool_size=1, application="hitl-cli")
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def transaction() -> Iterator[Session]:
    """A transaction; what goes wrong becomes one line and exit code 1."""
    try:
        with engine() as database, database_errors(), Session(database) as session, session.begin():
            yield session
    except HitlError as error:
        refuse(str(error))


@contextmanager
def problems_named() -> Iterator[None]:
    """What cannot be read or reached becomes one line and exit code 2: a check that could not be
    made is no finding, which is 1."""
    try:
        with database_errors():
            yield
    except (HitlError, OSError) as error:
        refuse(str(error), code=2)
