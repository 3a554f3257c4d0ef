"""The chain of blocks: a transaction's batch becomes the next one, without a gap or a fork.

The lock is the last that a transaction takes, after all rows are written, and is held until the
commit: whoever has it waits for nobody, and the head that it reads is the head that it follows.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.engine.interfaces import DBAPICursor

from services.logger.ledger import Block, merkle_root, unpack
from shared.errors import Overloaded
from shared.events.models import derive_id

_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# All that a row of `event` says but its place: that is the leaf's place in the tree. Postgres makes
# it of what it stores, and hashes it: cheaper than making JSON canonical in Python.
LEAF_TEXT = f"""json_build_object(
    'data', data, 'event_id', event_id, 'item_id', item_id,
    'occurred_at', {_TIME.format("occurred_at")}, 'recorded_at', {_TIME.format("recorded_at")},
    'source', source, 'text_commitment', encode(text_commitment, 'hex'), 'trace_id', trace_id,
    'type', type, 'version', version, 'workflow', workflow)::text"""
# After INSERT … RETURNING: a leaf as services.logger.ledger.unpack reads it.
RETURNED_LEAF = (
    f"seq, uuid_send(event_id) || sha256('\\x00'::bytea || convert_to({LEAF_TEXT}, 'UTF8')) AS leaf"
)
# Over those rows, as `new`: the arguments of Inserted.
INSERTED = "SELECT count(*), min(seq), max(seq), string_agg(leaf, '' ORDER BY seq) FROM new"
_OWN_EVENT = f"""
    WITH new AS (
        INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at, source, data)
        VALUES (%(event_id)s, %(type)s, 1, %(workflow)s, %(item_id)s, %(at)s, '/hitl/audit',
                %(data)s)
        RETURNING {RETURNED_LEAF})
    {INSERTED}
"""  # noqa: S608 - names of our own

_LOCK = 0x6C_65_64_67_65_72  # "ledger"
_HEAD = f"""
    SELECT pg_advisory_xact_lock({_LOCK});
    SELECT height, block_hash, clock_timestamp()
    FROM ledger_block ORDER BY height DESC LIMIT 1
"""  # noqa: S608 - a number of our own; a statement of its own sees what was committed meanwhile
_APPEND = """
    INSERT INTO ledger_block (height, count, first_seq, last_seq, merkle_root, previous_hash,
                              block_hash, created_at, leaves)
    VALUES (%(height)s, %(count)s, %(first_seq)s, %(last_seq)s, %(merkle_root)s, %(previous_hash)s,
            %(block_hash)s, %(created_at)s, %(leaves)s)
"""


@dataclass(frozen=True, slots=True)
class Inserted:
    """The events that were new: how many, between which `seq`, and their leaves in that order."""

    count: int
    first_seq: int
    last_seq: int
    leaves: bytes


def inserted(cursor: DBAPICursor) -> Inserted:
    """What a statement that ends with `INSERTED` has added."""
    count, first_seq, last_seq, leaves = cursor.fetchone() or (0, None, None, None)
    return Inserted(count, first_seq or 0, last_seq or 0, bytes(leaves or b""))


def record(
    cursor: DBAPICursor, kind: str, workflow: str, item_id: str, at: datetime, data: object
) -> None:
    """Writes an event of the command line's own about an item, and its block: the last that the
    transaction does. The same at the same time is the same event.

    Raises:
        Overloaded: there is no block to follow.
    """
    event = {
        "event_id": str(derive_id(kind, workflow, item_id, at.isoformat())),
        "type": kind,
        "workflow": workflow,
        "item_id": item_id,
        "at": at,
        "data": json.dumps(data),
    }
    cursor.execute(_OWN_EVENT, event)
    append_block(cursor, inserted(cursor))


def append_block(cursor: DBAPICursor, added: Inserted) -> int:
    """Chains the transaction's events; the new height. Nothing may be locked after this.

    Raises:
        Overloaded: there is no block to follow; nothing is written until somebody has looked.
    """
    root = merkle_root([leaf.hash for leaf in unpack(added.leaves)])  # before others have to wait
    cursor.execute(_HEAD)
    head = cursor.fetchone()
    if head is None:
        raise Overloaded("the ledger has no block: were its rows deleted? see docs/build/ledger.md")
    height, previous_hash, now = head
    block = Block(
        height=height + 1,
        count=added.count,
        first_seq=added.first_seq,
        last_seq=added.last_seq,
        merkle_root=root,
        previous_hash=bytes(previous_hash),
        created_at=now,
        leaves=added.leaves,
    )
    cursor.execute(_APPEND, {**asdict(block), "block_hash": block.hash})
    return block.height
