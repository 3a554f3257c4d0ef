"""Elects the certifier that publishes: the one whose session holds a lock in Postgres.

The lock ends with its session: when the leader is killed, another has it at the next try. A pooler
that shares a session between programs would share the lock, too; each leader leaves a mark there.
"""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, Engine, text

from shared.errors import Overloaded
from shared.storage.database import database_errors

_LOCK = 0x68_69_74_6C_66_62  # "hitlfb"
_TRY = text("SELECT pg_try_advisory_lock(:key)")
_MARK = text("SELECT set_config('hitl.leader', :mark, false)")
_NOW = text("SELECT clock_timestamp(), current_setting('hitl.leader', true)")


class Leader:
    """A claim to lead. Not for several threads at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Connection | None = None
        self._mark = uuid4().hex

    def leads(self) -> datetime | None:
        """The database's time if this process leads at that time, else None.

        One clock for all of them: what a new leader says is later than what an old one said.

        Raises:
            Overloaded: Postgres is unreachable, and the lead is lost.
        """
        try:
            with database_errors():
                return self._ask()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
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
            session.execute(_MARK, {"mark": self._mark})
            self._session = session
        now, mark = self._session.execute(_NOW).one()
        if mark != self._mark:
            raise Overloaded(
                "Postgres: the connection pooler shares this session with other programs, so that"
                " its locks exclude nobody: set pool_mode = session in PgBouncer"
            )
        return now if isinstance(now, datetime) else None
