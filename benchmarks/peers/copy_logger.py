"""How fast is a plain COPY of the same rows into the same indexed tables?

Nobody whose messages may come twice can do this: the second time breaks the batch. It reads each
message with the same models, writes the same values but those of the ledger, and an item once, when
it is decided.
"""

from collections.abc import Iterable, Sequence
from io import BytesIO

from psycopg2.extensions import connection, cursor
from pydantic_core import to_json

from shared.events.envelope import decode
from shared.events.models import ItemAccepted
from shared.events.registry import PUBLISHED
from shared.messages import Delivery

_EVENT = "event (event_id, type, version, workflow, item_id, occurred_at, source, trace_id, data)"
_ITEM = (
    "item (workflow, id, text, metadata, ai_label, confidence, distribution, status, progress, "
    "status_at, final_label, model_version, policy_version, reasons, trace_id, received_at, "
    "scored_at, routed_at, updated_at)"
)
_TEXT = {"item": {"text": True, "metadata": True}}


def write(connection: connection, batches: Iterable[Sequence[Delivery]]) -> None:
    """Each batch in a transaction of its own."""
    for batch in batches:
        _write(connection, batch)


def _write(connection: connection, batch: Sequence[Delivery]) -> None:
    events, items = [], []
    for delivery in batch:
        event = decode(delivery, *PUBLISHED)
        trace_id = str(delivery.headers["traceparent"])[3:35]
        data = event.model_dump_json(exclude=_TEXT)
        events.append(
            (event.event_id, event.type, event.version, event.workflow, event.item_id,
             event.occurred_at, "/hitl/benchmark", trace_id, data)
        )  # fmt: skip
        if isinstance(event, ItemAccepted):
            item, prediction, decision = event.item, event.prediction, event.decision
            at = decision.decided_at
            items.append(
                (event.workflow, item.id, item.text, _json(item.metadata), prediction.label,
                 prediction.confidence, _json(prediction.distribution), "AI_ACCEPTED", 21, at,
                 decision.label, prediction.model_version, decision.policy_version,
                 _json(decision.reasons), trace_id, item.received_at, at, at, at)
            )  # fmt: skip
    with connection.cursor() as cursor:
        _copy(cursor, _EVENT, events)
        _copy(cursor, _ITEM, items)
    connection.commit()


def _json(value: object) -> str:
    return to_json(value).decode()


def _copy(cursor: cursor, into: str, rows: Iterable[Sequence[object]]) -> None:
    # Nothing in these rows needs an escape but the backslash.
    text = "".join("\t".join(map(str, row)) + "\n" for row in rows).replace("\\", "\\\\")
    cursor.copy_expert(f"COPY {into} FROM STDIN", BytesIO(text.encode()), size=1 << 20)


def rendered(cursor: cursor, table: str, batches: int) -> list[tuple[str, bytes]]:
    """What a table holds now, as COPY statements with their rows, in this many parts."""
    cursor.execute(
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s"
        "::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''",
        (table,),
    )
    (columns,) = cursor.fetchone() or ("",)
    whole = BytesIO()
    cursor.copy_expert(f"COPY {table} ({columns}) TO STDOUT", whole)
    lines = whole.getvalue().splitlines(keepends=True)
    size = -(-len(lines) // batches)
    return [
        (f"COPY {table} ({columns}) FROM STDIN", b"".join(lines[n * size : (n + 1) * size]))
        for n in range(batches)
    ]


def write_rendered(connection: connection, batches: Iterable[Sequence[tuple[str, bytes]]]) -> None:
    """The same with rows that need no more work on this side."""
    with connection.cursor() as cursor:
        for batch in batches:
            for statement, rows in batch:
                cursor.copy_expert(statement, BytesIO(rows), size=1 << 20)
            connection.commit()
