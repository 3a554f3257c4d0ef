"""Locks out a second training of the same model. Two at once would waste an hour and race for
the same version. One lock is in the folder, one in the database for other machines."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from shared.errors import ConfigurationError
from shared.storage.database import database_errors

LOCK = ".training"


class Busy(ConfigurationError):
    """Another training of the same workflow runs."""


@contextmanager
def only_one(folder: Path, engine: Engine, workflow: str) -> Iterator[None]:
    """Both locks for the length of the block; they end with the process, however it ends.

    Raises:
        Busy: another process has one of them.
        Overloaded: the database is unreachable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Busy(
                f"a training of {workflow} is already running ({file.read().strip() or 'unknown'})"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        with database_errors(), engine.connect() as connection:
            # Outside of a transaction, which would hold back the database's clean-up for an hour.
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            digest = sha256(f"hitl retrain {workflow}".encode()).digest()
            key = {"key": int.from_bytes(digest[:8], signed=True)}
            if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
                raise Busy(f"a training of {workflow} is already running on another machine")
            try:
                yield
            finally:
                with suppress(DBAPIError):  # a connection that ended has given its locks back
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
