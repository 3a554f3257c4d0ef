"""How does a program reach Postgres, and how does the schema get there?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic

import psycopg2
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.errors import ConfigurationError, Overloaded

MIGRATION_LOCK = 0x68_69_74_6C  # "hitl": one migration at a time, whoever starts first
# Connection, authorisation, rollback to try again, resources, shutdown, system, internal.
_AWAY_CLASSES = ("08", "28", "40", "53", "57", "58", "XX")
_NOT_PREPARED = frozenset(
    {
        "42501",  # rights not granted yet
        "42703",  # no such column: an older schema, not migrated yet
        "42P01",  # no such table: not migrated yet
    }
)
_AWAY_STATES = _NOT_PREPARED | frozenset(
    {
        "25006",  # a standby that is not promoted yet
        "25P03",  # idle in a transaction for too long
        "3D000",  # no such database, yet
        "55P03",  # a lock was not to be had in time
    }
)
_BAD_DATA_CLASSES = ("22", "23", "54")  # data exception, constraint, program limit


def connect(database_url: str, *, pool_size: int = 5, application: str = "hitl") -> Engine:
    """An engine on psycopg2 that notices dead connections before it uses them.

    Statements are cut off after 30 s and lock waits after 10 s, so that nothing hangs for ever.

    Raises:
        ConfigurationError: that is no address.
    """
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):  # which would quote a part of it, maybe of the password
        raise ConfigurationError(
            "DATABASE_URL: no address like postgresql://USER:PASSWORD@HOST:PORT/NAME"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg2")
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_recycle=1_800,
        connect_args={
            "connect_timeout": 5,
            "application_name": application,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "options": "-c timezone=UTC -c statement_timeout=30000 -c lock_timeout=10000",
        },
    )


@contextmanager
def database_errors() -> Iterator[None]:
    """Turns "the database is away or not ready" into `Overloaded`; all else passes through."""
    try:
        yield
    except (DBAPIError, psycopg2.Error) as error:
        if sqlstate(error) in _NOT_PREPARED:
            raise Overloaded(
                f"Postgres: {refusal(error)}: is this the database, and was `hitl prepare` run?"
            ) from error
        if is_away(error):
            raise Overloaded(f"Postgres: {_driver_error(error)}") from error
        raise
    except PoolTimeout as error:
        raise Overloaded(f"every connection to Postgres is in use: {error}") from error


def is_away(error: DBAPIError | psycopg2.Error) -> bool:
    """Whether the same statement may succeed later, unchanged."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_AWAY_CLASSES) or state in _AWAY_STATES
    # A broken connection has no SQLSTATE; nor has a mistake that the driver itself finds.
    return not isinstance(_driver_error(error), psycopg2.ProgrammingError | psycopg2.DataError)


def is_bad_data(error: DBAPIError | psycopg2.Error) -> bool:
    """Whether Postgres refuses these very values: other rows of the same statement may be fine."""
    return (sqlstate(error) or "").startswith(_BAD_DATA_CLASSES)


def sqlstate(error: DBAPIError | psycopg2.Error) -> str | None:
    """The five characters of https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    state = getattr(_driver_error(error), "pgcode", None)
    return state if isinstance(state, str) else None


def refusal(error: DBAPIError | psycopg2.Error) -> str:
    """Why Postgres refused, without the values (its detail and context would quote them)."""
    diagnosis = getattr(_driver_error(error), "diag", None)
    message = getattr(diagnosis, "message_primary", None) or type(_driver_error(error)).__name__
    return f"{message} (SQLSTATE {sqlstate(error)})"


def readiness(engine: Engine, keep_seconds: float = 3.0) -> Callable[[], str | None]:
    """A check for `Lifecycle.add_check`: None while Postgres answers; asked at most every
    `keep_seconds`."""
    answer: str | None = None
    asked = -inf

    def probe() -> str | None:
        nonlocal answer, asked
        if monotonic() - asked >= keep_seconds:
            try:
                with database_errors(), engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
                answer = None
            except Overloaded as error:
                answer = str(error)
            asked = monotonic()
        return answer

    return probe


def _driver_error(error: DBAPIError | psycopg2.Error) -> BaseException:
    return error.orig or error if isinstance(error, DBAPIError) else error


def migrate(database_url: str, revision: str = "head") -> None:
    """Brings the schema to `revision`, up or down, in one transaction and however long it takes;
    safe to call from several programs at once.

    Raises:
        ConfigurationError: this release knows no such revision, or not the database's own.
    """
    engine = connect(database_url, pool_size=1, application="hitl-migrate")
    try:
        with engine.connect() as connection:
            connection.execute(text("SET lock_timeout = 0"))
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()
            try:
                down = undone_by(connection, revision)
                step = command.downgrade if down else command.upgrade
                step(migration_config(connection), revision)
                connection.commit()
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
                connection.commit()
    finally:
        engine.dispose()


def undone_by(connection: Connection, revision: str) -> list[Script]:
    """The steps that going to `revision` takes back, newest first; none where it is a way up.

    Raises:
        ConfigurationError: as `migrate` does.
    """
    script = ScriptDirectory.from_config(migration_config(connection))
    here = MigrationContext.configure(connection).get_current_revision()
    try:
        wanted = script.revision_map.get_revision(revision)
        above = list(script.iterate_revisions(here, "base"))
    except RevisionError as error:
        raise ConfigurationError(
            f"this release's newest revision is {script.get_current_head()}, the database is at"
            f" {here}: {error}"
        ) from None
    if wanted is None:
        raise ConfigurationError(f"{revision} is no revision: this would take the tables away")
    names = [step.revision for step in above]
    return above[: names.index(wanted.revision)] if wanted.revision in names else []


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration on an open connection: no ini file, the address in one place."""
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
