"""Relays decided events from the outbox to the broker, through every outage."""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from services.review_ui.outbox.task_gauges import count_tasks
from shared.backoff import pause_after
from shared.clock import Clock
from shared.errors import Overloaded
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.service.metrics import OUTBOX_OLDEST_UNPUBLISHED
from shared.storage.database import database_errors
from shared.storage.outbox import BATCH_ROWS, oldest_due_seconds, publish_due

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
MAX_PAUSE_SECONDS = 5.0
PUBLISH_SECONDS = 8.0  # rows stay locked meanwhile, and a stop must not wait longer
COUNT_EVERY_SECONDS = 15.0


class Relay:
    """The loop that empties the outbox; also keeps the gauges of what waits. `at_idle` is called,
    and soon again, while there is nothing to publish; it raises nothing. `sent` is given what was
    published."""

    def __init__(
        self,
        engine: Engine,
        broker: Broker,
        clock: Clock,
        at_idle: Callable[[], object] = lambda: None,
        sent: Callable[[Sequence[Outgoing]], object] | None = None,
    ) -> None:
        self._sent = sent
        self._engine = engine
        self._broker = broker
        self._clock = clock
        self._at_idle = at_idle
        self._problem: str | None = None
        self._counted_at = float("-inf")

    def problem(self) -> str | None:
        """Why nothing leaves at present; None while it does."""
        return self._problem

    def run(self, stopping: threading.Event) -> None:
        """Publishes what is due until `stopping`, then once more for the last requests."""
        failures = 0
        while not stopping.is_set():
            published = self._attempt()
            failures = failures + 1 if published is None else 0
            if published == 0:
                self._at_idle()
            if published != BATCH_ROWS:
                stopping.wait(pause_after(failures, POLL_SECONDS, MAX_PAUSE_SECONDS))
        self._attempt()

    def _attempt(self) -> int | None:
        """The number of events published; None while the broker or the database is unreachable."""
        try:
            with database_errors():
                published = self.publish_once()
                self._count_tasks()
        except Overloaded as error:
            self._report(str(error))
            return None
        except DBAPIError:
            logger.exception("reading the outbox failed")
            self._report("reading the outbox failed; see the log")
            return None
        self._report(None)
        return published

    def publish_once(self) -> int:
        """Publishes one batch of what is due; how many.

        Raises:
            Overloaded: the broker is unreachable; everything stays due.
        """
        now = self._clock()
        OUTBOX_OLDEST_UNPUBLISHED.set(oldest_due_seconds(self._engine, now))
        problem = self._broker.problem()
        if problem is not None:
            raise Overloaded(problem)

        def publish(messages: Sequence[Outgoing]) -> None:
            self._broker.publish(messages, PUBLISH_SECONDS)
            if self._sent is not None:
                self._sent(messages)

        published = publish_due(self._engine, publish, now, self._broker.lacking)
        if published:
            OUTBOX_OLDEST_UNPUBLISHED.set(oldest_due_seconds(self._engine, now))
        return published

    def _report(self, problem: str | None) -> None:
        if problem != self._problem:
            if problem is None:
                logger.info("publishing of decisions resumed")
            else:
                logger.warning(
                    "decisions wait in the outbox",
                    extra={"problem": problem},
                )
        self._problem = problem

    def _count_tasks(self) -> None:
        now = self._clock()
        if now.timestamp() - self._counted_at < COUNT_EVERY_SECONDS:
            return
        self._counted_at = now.timestamp()
        count_tasks(self._engine, now)
