"""Connects to Postgres, and says whose fault it is where that fails."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any

import psycopg2
import psycopg2.extensions
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.addresses import DATABASE, ESCAPES, is_database
from shared.errors import ConfigurationError, Overloaded

# Connection, authorisation, rollback to try again, resources, shutdown, system, internal.
_UNAVAILABLE_CLASSES = ("08", "28", "40", "53", "57", "58", "XX")
# No value can be the reason: a table, a column, a type or a right is not what this release expects,
# or a column that it does not know must not be empty. Not migrated yet, or changed by somebody.
_OTHER_SCHEMA = ("42", "23502", "0A000")
_UNAVAILABLE_STATES = (
    "25006",  # a standby that is not promoted yet
    "25P03",  # idle in a transaction for too long
    "3D000",  # no such database, yet
    "55P03",  # lock timeout
)
_LIMITS = "SET timezone = 'UTC'; SET statement_timeout = '30s'; SET lock_timeout = '10s'"
_BAD_DATA_CLASSES = ("22", "23", "54")  # data exception, constraint, program limit
_QUOTES = re.compile("[\"'`\u00ab\u00bb\u2018-\u201f\u300c-\u300f]")  # in any language
OTHER_SCHEMA_HINT = "is this the right database, and has `hitl prepare` been run?"
_KEEP_SECONDS = 3.0  # an answer of a readiness check


def connect(database_url: str, *, pool_size: int = 5, application: str = "hitl") -> Engine:
    """An engine on psycopg2 that notices dead connections before it uses them.

    Statements are cut off after 30 s and lock waits after 10 s, so that nothing hangs for ever.

    Raises:
        ConfigurationError: that is no address.
    """
    try:
        url = make_url(database_url) if is_database(database_url) else None
    except (ArgumentError, ValueError):  # which would quote a part of it, maybe of the password
        url = None
    if url is None:
        raise ConfigurationError(f"DATABASE_URL: not an address like {DATABASE}; {ESCAPES}")
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    engine = create_engine(
        url,
        hide_parameters=True,  # they are people's texts, and an error would quote them
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_recycle=1_800,
        connect_args={
            "cursor_factory": _DiscreetCursor,
            "connect_timeout": 5,
            "application_name": application,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
    event.listen(engine, "connect", _limit)
    return engine


def _limit(connection: psycopg2.extensions.connection, _record: object) -> None:
    """By statements: PgBouncer takes no `options` at the start of a connection."""
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS)
    connection.commit()


DatabaseError = DBAPIError | psycopg2.Error
"""What SQLAlchemy or the driver raises."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns "Postgres is unreachable or not ready" into `Overloaded`; all else passes through."""
    try:
        yield
    except (DBAPIError, psycopg2.Error) as error:
        if is_other_schema(error):
            raise Overloaded(f"Postgres: {refusal(error)}: {OTHER_SCHEMA_HINT}") from error
        if is_unavailable(error):
            raise Overloaded(f"Postgres: {refusal(error)}") from error
        raise
    except PoolTimeout as error:
        raise Overloaded(f"every connection to Postgres is in use: {error}") from error


def is_unavailable(error: DatabaseError) -> bool:
    """Whether the same statement may succeed later, unchanged."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith((*_UNAVAILABLE_CLASSES, *_UNAVAILABLE_STATES, *_OTHER_SCHEMA))
    # A broken connection has no SQLSTATE; nor has a mistake that the driver itself finds.
    return not isinstance(_driver_error(error), psycopg2.ProgrammingError | psycopg2.DataError)


def is_other_schema(error: DatabaseError) -> bool:
    """Whether the tables are not those of this release, so that every row would be refused."""
    return (sqlstate(error) or "").startswith(_OTHER_SCHEMA)


def is_bad_data(error: DatabaseError) -> bool:
    """Whether Postgres refuses these very values: other rows of the same statement may be fine.
    (shared/storage/refused_rows.py asks whether that is the values' fault, or the table's.)"""
    return (sqlstate(error) or "").startswith(_BAD_DATA_CLASSES) and not is_other_schema(error)


def sqlstate(error: DatabaseError) -> str | None:
    """The five characters of https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    state = getattr(_driver_error(error), "pgcode", None)
    return state if isinstance(state, str) else None


def refusal(error: DatabaseError) -> str:
    """Why Postgres refused, without the values: its detail and context quote them, and of a value
    that it could not read the message, too. Without a SQLSTATE (there was no connection) what the
    driver says."""
    cause = _driver_error(error)
    state = sqlstate(error)
    if state is None:
        return str(cause).strip() or type(cause).__name__
    message = getattr(getattr(cause, "diag", None), "message_primary", None)
    if message is None or (state.startswith("22") and _QUOTES.search(message)):
        message = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(cause).__name__).lower()
    return f"{message} (SQLSTATE {state})"


@contextmanager
def _discreet() -> Iterator[None]:
    """An error of Postgres loses what it quotes before anybody can write it down: SQLAlchemy's text
    of it and every traceback are made of its arguments."""
    try:
        yield
    except psycopg2.Error as error:
        if sqlstate(error) is not None:
            error.args = (refusal(error),)
        raise


class _DiscreetCursor(psycopg2.extensions.cursor):
    """A cursor whose errors quote no value."""

    def execute(self, query: Any, vars: Any = None) -> None:
        with _discreet():
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        with _discreet():
            super().executemany(query, vars_list)

    def copy_expert(self, sql: Any, file: Any, size: int = 8_192) -> None:
        with _discreet():
            super().copy_expert(sql, file, size)


def readiness(engine: Engine) -> Callable[[], str | None]:
    """A check for `Lifecycle.add_check`: None while Postgres answers."""

    def answers(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))

    return asked_seldom(engine, answers)


def asked_seldom(
    engine: Engine, ask: Callable[[Connection], str | None]
) -> Callable[[], str | None]:
    """The problem that `ask` finds, or why there is no connection to ask by; None: none. Asked at
    most every `_KEEP_SECONDS`."""
    answer: str | None = None
    asked = -inf

    def probe() -> str | None:
        nonlocal answer, asked
        if monotonic() - asked >= _KEEP_SECONDS:
            try:
                with database_errors(), engine.connect() as connection:
                    answer = ask(connection)
            except Overloaded as error:
                answer = str(error)
            asked = monotonic()
        return answer

    return probe


def _driver_error(error: DatabaseError) -> BaseException:
    return error.orig or error if isinstance(error, DBAPIError) else error
