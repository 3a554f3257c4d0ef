"""Which of several certifiers publishes? The one whose session holds a lock in Postgres.

The lock ends with its session: when the leader is killed, another has it at the next try.
"""

from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, text

from shared.database import database_errors

_LOCK = 0x68_69_74_6C_66_62  # "hitlfb"
_TRY = text("SELECT pg_try_advisory_lock(:key)")
_NOW = text("SELECT clock_timestamp()")


class Leader:
    """A claim to lead. Not for several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None

    def leads(self) -> datetime | None:
        """The database's time if this process leads at that time, else None.

        One clock for all of them: what a new leader says is later than what an old one said.

        Raises:
            Overloaded: Postgres is away, and the lead with it.
        """
        try:
            with database_errors():
                return self._ask()
        except BaseException:
            self.resign()
            raise

    def resign(self) -> None:
        """Lets another lead."""
        session, self._session = self._session, None
        if session is not None:
            session.invalidate()  # not back to the pool: the lock would live on there
            session.close()

    def _ask(self) -> datetime | None:
        if self._session is None:
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            if not session.scalar(_TRY, {"key": _LOCK}):
                session.close()
                return None
            self._session = session
        now = self._session.scalar(_NOW)
        return now if isinstance(now, datetime) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.resign()
