"""Checks that each item's text is the one its events committed to, or erased on record."""

from collections.abc import Iterator

from sqlalchemy import Connection

from hitl.ledger.check import ERASED
from hitl.ledger.erase import ITEM_ERASED
from hitl.ledger.records import streamed
from services.logger.ledger import HASH_BYTES, ID_BYTES, SALT_BYTES, commitment

_ITEMS = f"""
    SELECT e.workflow, e.item_id, e.committed, e.erasures, item.id IS NOT NULL,
           item.text, item.metadata::text, item.text_salts, item.erased_at IS NOT NULL
    FROM (
        SELECT workflow, item_id,
               string_agg(uuid_send(event_id) || text_commitment, '') AS committed,
               count(*) FILTER (WHERE type = '{ITEM_ERASED}') AS erasures
        FROM event
        GROUP BY workflow, item_id
        HAVING count(text_commitment) > 0 OR bool_or(type = '{ITEM_ERASED}')
    ) e
    LEFT JOIN item ON item.workflow = e.workflow AND item.id = e.item_id
    ORDER BY e.workflow, e.item_id
"""  # noqa: S608 - a name of our own


def wrong_texts(connection: Connection) -> Iterator[str | None]:
    """For each item whose text was committed to: None, or what is wrong with it."""
    for workflow, item_id, committed, erasures, there, *held in streamed(connection, _ITEMS):
        wrong = _wrong(bytes(committed or b""), erasures, there, *held)
        yield None if wrong is None else f"item {item_id!r} of {workflow}: {wrong}"


def _wrong(
    committed: bytes,
    erasures: int,
    there: bool,
    text: str | None,
    metadata: str | None,
    salts: bytes | None,
    erased: bool,
) -> str | None:
    if not there:
        return "its row in `item` is missing"
    if erased or erasures:
        if not erased or text != ERASED or salts:
            return f"an event records that its text was erased, but it has one ({ITEM_ERASED})"
        return None if erasures else "its text was erased, and no event records it"
    salt_of = _pairs(bytes(salts or b""), SALT_BYTES)
    commitments = _pairs(committed, HASH_BYTES)
    if commitments.keys() - salt_of.keys():
        return "the salt of a commitment to its text is missing"
    # Events of one item may have brought different texts; its row holds one of them.
    for event_id, digest in commitments.items():
        if text is not None and commitment(salt_of[event_id], text, metadata) == digest:
            return None
    return "its text or metadata was altered: it is not that of any event"


def _pairs(packed: bytes, size: int) -> dict[bytes, bytes]:
    """Event id → what follows it."""
    step = ID_BYTES + size
    return {
        packed[start : start + ID_BYTES]: packed[start + ID_BYTES : start + step]
        for start in range(0, len(packed), step)
    }
