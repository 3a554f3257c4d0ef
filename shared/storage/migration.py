"""Brings the schema of the database to a revision.

Apart from `database`, since alembic takes a third of a second to import, and no service needs it.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import Connection, text

from shared.errors import ConfigurationError
from shared.storage.database import connect

MIGRATION_LOCK = 0x68_69_74_6C  # "hitl": one migration at a time, whoever starts first


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
        raise ConfigurationError(f"{revision} is not a revision: this would drop the tables")
    names = [step.revision for step in above]
    return above[: names.index(wanted.revision)] if wanted.revision in names else []


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration on an open connection: no ini file, the address in one place."""
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
