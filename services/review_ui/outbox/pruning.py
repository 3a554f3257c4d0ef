"""Prunes what was sent: published events and delivered webhooks, after a time to look at them.

Every hour, in small parts, so that nothing waits for it. The history of decisions is elsewhere, and
stays.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from services.review_ui.webhooks import store as webhook_store
from shared.clock import Clock
from shared.errors import Overloaded
from shared.storage import outbox
from shared.storage.database import database_errors

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
PART_ROWS = 1_000


class Pruning:
    """Deletes what was sent more than `keep` ago."""

    def __init__(self, engine: Engine, clock: Clock, keep: timedelta) -> None:
        self._engine = engine
        self._clock = clock
        self._keep = keep
        self._next: datetime | None = None

    def step(self) -> int:
        """One part, when due; the rows deleted. A failure is logged and retried in an hour."""
        now = self._clock()
        if self._next is not None and now < self._next:
            return 0
        parts = (0, 0)
        try:
            with database_errors():
                before = now - self._keep
                parts = (
                    outbox.prune(self._engine, before, PART_ROWS),
                    webhook_store.prune(self._engine, before, PART_ROWS),
                )
        except (Overloaded, DBAPIError):
            logger.warning("pruning of sent events and webhook deliveries failed", exc_info=True)
        if max(parts) < PART_ROWS:
            self._next = now + EVERY
        return sum(parts)
