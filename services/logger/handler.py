"""The handler of `hitl.log`: a batch becomes rows, committed before any message is acked."""

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import psycopg2
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from services.logger.rows import EventRow, read_event, read_item
from services.logger.store import Batch, Written, prepare, write
from shared.answers.base import PLAIN, AnswerSpec
from shared.bisection import bisected
from shared.clock import Clock, as_utc
from shared.errors import Permanent
from shared.events.envelope import encode
from shared.events.models import Event, ItemAccepted, ItemEvent, ItemFailed, ItemReviewed
from shared.events.submissions import excerpt, guess_id
from shared.events.traceparent import traceparent_of
from shared.messages import Delivery, Outgoing, Result
from shared.service.metrics import ITEM_AGE, ITEMS_EDITED, LOGGER_ROWS
from shared.storage.database import database_errors, is_bad_data
from shared.storage.refused_rows import blame_the_schema_first, refused_row
from shared.topology import ITEMS, LOG_QUEUE, UNROUTABLE
from shared.workflows.files import workflow_of

logger = logging.getLogger(__name__)

# How many a full batch has: each but the first is read while Postgres is at work on the one before.
PORTIONS = 4
# The writer comes back from Postgres a dozen times a portion, and each time waits as long as this
# for the thread that reads, while Postgres is idle. Python's own 5 ms are for fewer switches.
SWITCH_SECONDS = 0.000_5
PORTION_ROWS = 2_000
# Two thousand messages of 1 MiB must neither fill the memory nor outlast the statement timeout.
PORTION_BYTES = 16 * 1_024 * 1_024


class _Prepared(NamedTuple):
    """What a transaction is made of: a result for each delivery, as far as there is one already;
    rows, each with its delivery's place; and the same rows, ready to be written."""

    results: list[Result]
    rows: Sequence[tuple[int, EventRow]]
    batch: Batch


class Logger:
    """Writes every event once and keeps each item's row up to date. Any number may run."""

    def __init__(
        self,
        engine: Engine,
        *,
        workflows: Container[str],
        spec_of: Callable[[str], AnswerSpec] = lambda _workflow: PLAIN,
        max_body_bytes: int,
        clock: Clock,
        portion_rows: int = PORTION_ROWS,
        portion_bytes: int = PORTION_BYTES,
    ) -> None:
        """`workflows` are those that items may be sent to, `spec_of` says what one asks for; a
        transaction takes at most `portion_rows` messages of about `portion_bytes`."""
        self._engine = engine
        self._workflows = workflows
        self._spec_of = spec_of
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._portion_rows = portion_rows
        self._portion_bytes = portion_bytes
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._event_rows = LOGGER_ROWS.labels("event")
        self._item_rows = LOGGER_ROWS.labels("item")
        self._accepted_age = ITEM_AGE.labels("accepted")
        self._reviewed_age = ITEM_AGE.labels("reviewed")

    def handle(self, batch: Sequence[Delivery]) -> Sequence[Result]:
        """Returns after the commit.

        Raises:
            Overloaded: Postgres is unreachable, or its tables are not those of this release; of
                the batch, all, some or nothing was written.
        """
        results: list[Result] = []
        reading = map(self._prepare, portions(batch, self._portion_rows, self._portion_bytes))
        ahead = next(reading, None)
        while ahead is not None:
            written = self._writer.submit(self._write, ahead)
            try:
                ahead = next(reading, None)  # while Postgres is at work
            finally:
                results += written.result()  # whatever happens, no write is left alone
        return results

    def _prepare(self, portion: Sequence[Delivery]) -> _Prepared:
        results: list[Result] = [()] * len(portion)
        rows: list[tuple[int, EventRow]] = []
        for position, delivery in enumerate(portion):
            try:
                row = self._read(delivery)
            except Permanent as error:
                results[position] = error
                continue
            if isinstance(row, Outgoing):
                results[position] = (row,)
            elif row is not None:
                rows.append((position, row))
        return _Prepared(results, rows, prepare(row for _, row in rows))

    def _write(self, prepared: _Prepared) -> list[Result]:
        """One transaction, as long as Postgres refuses nothing."""
        results, rows, batch = prepared
        if rows:
            with database_errors():
                written = self._write_or_bisect([row for _, row in rows], batch)
            for (position, _), result in zip(rows, written, strict=True):
                results[position] = result
        return results

    def _read(self, delivery: Delivery) -> EventRow | Outgoing | None:
        if delivery.exchange != ITEMS:
            return read_event(delivery)
        # A message that came by way of the alternate exchange still names the one it was sent to:
        # only its routing key tells that nobody takes it.
        if delivery.routing_key not in self._workflows:
            return self._unknown_workflow(delivery)
        return read_item(
            delivery,
            delivery.routing_key,
            max_body_bytes=self._max_body_bytes,
            clock=self._clock,
            spec=self._spec_of(delivery.routing_key),
        )

    def _unknown_workflow(self, delivery: Delivery) -> Outgoing:
        """Says that the message lies in `hitl.unroutable`, so that it shows as a failed item."""
        key = delivery.routing_key
        workflow = "unknown" if "." in key else workflow_of(UNROUTABLE, key)
        row = read_item(delivery, workflow, max_body_bytes=self._max_body_bytes, clock=self._clock)
        failed = ItemFailed(
            workflow=workflow,
            occurred_at=self._clock(),
            failed_item_id=guess_id(delivery) if row is None else row.event.item_id,
            queue=UNROUTABLE,
            reason="unknown_workflow",
            detail=f"routing key {key[:100]!r} is no workflow here: see `hitl workflow list`",
            text=excerpt(delivery),
        )
        return encode(failed, source="logger", traceparent=traceparent_of(delivery))

    def _write_or_bisect(self, rows: Sequence[EventRow], batch: Batch) -> list[Result]:
        """The result of each row: nothing, that it is an edit, or why Postgres refuses it."""

        def attempt(part: Sequence[EventRow]) -> Sequence[Result] | None:
            try:
                written = write(self._engine, batch if part is rows else prepare(part))
            except (DBAPIError, psycopg2.Error) as error:
                if len(part) == 1:
                    return [refused_row(self._engine, error)]
                if not is_bad_data(error):
                    raise
                blame_the_schema_first(self._engine, error)
                logger.warning(
                    "Postgres rejected a row; bisecting the batch", extra={"rows": len(part)}
                )
                return None
            self._count(written)
            edits = set(map(id, written.edits))
            return [(self._edited(row.event),) if id(row) in edits else () for row in part]

        return bisected(rows, attempt)

    def _edited(self, event: Event) -> Outgoing:
        """Says that an id came again with another text: the row keeps what was decided on."""
        ITEMS_EDITED.labels("text").inc()
        logger.warning("an item came again with another text", extra={"item_id": event.item_id})
        failed = ItemFailed(
            workflow=event.workflow,
            occurred_at=self._clock(),
            failed_item_id=event.item_id,
            queue=LOG_QUEUE,
            reason="edited",
            detail="this id came again with another text, and the record keeps what was decided "
            "on: send a new version under a new id",
        )
        return encode(failed, source="logger", traceparent=None)

    def _count(self, written: Written) -> None:
        self._event_rows.inc(len(written.events))
        self._item_rows.inc(written.items)
        ITEMS_EDITED.labels("metadata").inc(written.other_metadata)
        now = self._clock()
        for row in written.events:
            event = row.event
            if event.type in (ItemAccepted.type, ItemReviewed.type) and isinstance(
                event, ItemEvent
            ):
                age = (now - as_utc(event.item.received_at)).total_seconds()
                accepted = event.type == ItemAccepted.type
                stage = self._accepted_age if accepted else self._reviewed_age
                stage.observe(max(age, 0.0))


def portions(
    batch: Sequence[Delivery], max_rows: int, max_bytes: int
) -> Iterator[Sequence[Delivery]]:
    """The batch in order, cut before a message with which there would be more than `max_rows`, or
    the bodies would exceed `max_bytes`; a message larger than that stands alone."""
    start = size = 0
    for end, delivery in enumerate(batch):
        size += len(delivery.body)
        if end - start == max_rows or (size > max_bytes and end > start):
            yield batch[start:end]
            start, size = end, len(delivery.body)
    if start < len(batch):
        yield batch[start:]
