"""A time limit on the statements of a block: a search through many texts is given up."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.errors import HitlError
from shared.storage.database import sqlstate

SEARCH_SECONDS = 10.0
_QUERY_CANCELED = "57014"


class TooLong(HitlError):
    """The search was given up."""


@contextmanager
def time_limit(session: Session, seconds: float) -> Iterator[None]:
    """Each statement in the block is given up after so long.

    Raises:
        TooLong: it was.
    """
    session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1_000)}"))
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) == _QUERY_CANCELED:
            raise TooLong(f"given up after {seconds:.0f} s") from None
        raise
