"""The ledger's records, from the database or from an export.

Both give the same stream. An export is JSON Lines: `{"event": TEXT, "seq": n}` for each event,
after those of a block `{"block": {…}}`, and at the end `{"end": {"blocks": n, "events": n}}`. TEXT
is, character for character, what the leaf was hashed from.
"""

import gzip
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from hitl.ledger.check import Chained, Event
from hitl.support.written_file import written_file
from services.logger.chain import LEAF_TEXT
from services.logger.ledger import Block, unpack, utc_text
from shared.errors import ConfigurationError, HitlError
from shared.formats import json_lines
from shared.storage.database import database_errors

Record = Event | Chained

ROWS_AT_ONCE = 2_000
_EVENTS = f"SELECT seq, uuid_send(event_id), {LEAF_TEXT} FROM event ORDER BY seq"  # noqa: S608 - our own
_BLOCKS = """
    SELECT height, count, first_seq, last_seq, merkle_root, previous_hash, created_at, leaves,
           block_hash
    FROM ledger_block ORDER BY height
"""
_HEAD = text("SELECT height, block_hash, created_at FROM ledger_block ORDER BY height DESC LIMIT 1")


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """One view of the database for the length of the block, however long, while the loggers go on.

    Raises:
        Overloaded: the database is unreachable.
    """
    with database_errors(), engine.connect() as connection:
        reading = connection.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        # Sorting and skipping may take long before the first row; the lock timeout stays.
        reading.execute(text("SET LOCAL statement_timeout = 0"))
        yield reading


def streamed(connection: Connection, statement: str) -> Iterator[Sequence[Any]]:
    """The rows, some thousands in memory at a time."""
    yield from connection.exec_driver_sql(statement, execution_options={"yield_per": ROWS_AT_ONCE})


def from_database(connection: Connection) -> Iterator[Record]:
    """Every event by `seq`, each block behind the last event that may be its own."""
    events = (
        (seq, 0, Event(seq, bytes(event_id), leaf))
        for seq, event_id, leaf in streamed(connection, _EVENTS)
    )
    for _, _, record in heapq.merge(events, _blocks(connection), key=itemgetter(0, 1)):
        yield record


def _blocks(connection: Connection) -> Iterator[tuple[int, int, Record]]:
    """Each block, after the highest `seq` of the blocks up to it."""
    reached = 0
    for row in streamed(connection, _BLOCKS):
        height, count, first, last, root, previous, created_at, leaves, block_hash = row
        block = Block(
            height, count, first, last, bytes(root), bytes(previous), created_at, bytes(leaves)
        )
        reached = max(reached, last)
        yield reached, 1, Chained(block, bytes(block_hash))


def counted(connection: Connection) -> int:
    """About how many events there are, for a progress bar: the sum of the blocks' counts."""
    total = text("SELECT coalesce(sum(count), 0) FROM ledger_block")
    return int(connection.execute(total).scalar_one())


def head(connection: Connection) -> dict[str, Any]:
    """The newest block's height, hash and time.

    Raises:
        HitlError: there is none.
    """
    found = connection.execute(_HEAD).one_or_none()
    if found is None:
        raise HitlError("block 0 is missing: there is no ledger")
    return {
        "height": found.height,
        "block_hash": bytes(found.block_hash).hex(),
        "created_at": utc_text(found.created_at),
    }


def export(records: Iterator[Record], file: Path) -> Iterator[Record]:
    """Writes each record, and yields it. The file appears only once it is complete."""
    blocks = events = 0
    with written_file(file) as raw, _gzipped(file, raw, "wb") as out:
        for record in records:
            if isinstance(record, Event):
                events += 1
                line: dict[str, Any] = {"event": record.text, "seq": record.seq}
            else:
                blocks += 1
                line = {"block": _block_object(record)}
            out.write(json_lines.line(line).encode())
            yield record
        out.write(json_lines.line({"end": {"blocks": blocks, "events": events}}).encode())


def from_export(file: Path, advance: Callable[[int], None]) -> Iterator[Record]:
    """The records of an export; `advance` gets the number of bytes read.

    Raises:
        ConfigurationError: it is no export, or an incomplete one.
    """
    records = 0
    whole = False
    try:
        with file.open("rb") as raw, _gzipped(file, raw, "rb") as lines:
            before = 0
            for line in lines:
                if whole:
                    raise ConfigurationError(f"{file} has data after its end")
                found = json.loads(line)
                if "end" in found:
                    whole = records == found["end"]["blocks"] + found["end"]["events"]
                else:
                    records += 1
                    yield _record(found)
                advance(raw.tell() - before)
                before = raw.tell()
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is not an export of the ledger: {error}") from error
    if not whole:
        raise ConfigurationError(f"{file} is incomplete: it ends too early, or lines are missing")


def _gzipped(file: Path, raw: Any, mode: str) -> Any:
    """A context manager of `raw`, through gzip where the file's name ends in .gz."""
    if file.suffix != ".gz":
        return nullcontext(raw)
    return gzip.GzipFile(fileobj=raw, mode=mode, compresslevel=1, filename="", mtime=0)


def _block_object(found: Chained) -> dict[str, Any]:
    """Leaves as pairs of id and hash; in hex as they are, where they were tampered with."""
    packed = found.block.leaves
    leaves: list[list[str]] | str
    try:
        leaves = [[str(UUID(bytes=leaf.event_id)), leaf.hash.hex()] for leaf in unpack(packed)]
    except ValueError:
        leaves = packed.hex()
    header: dict[str, Any] = json.loads(found.block.header)
    return {**header, "block_hash": found.block_hash.hex(), "leaves": leaves}


def _record(found: dict[str, Any]) -> Record:
    if "event" in found:
        leaf = str(found["event"])
        return Event(int(found["seq"]), UUID(json.loads(leaf)["event_id"]).bytes, leaf)
    given = found["block"]
    leaves = given["leaves"]
    packed = (
        bytes.fromhex(leaves)
        if isinstance(leaves, str)
        else b"".join(UUID(name).bytes + bytes.fromhex(digest) for name, digest in leaves)
    )
    block = Block(
        height=given["height"],
        count=given["count"],
        first_seq=given["first_seq"],
        last_seq=given["last_seq"],
        merkle_root=bytes.fromhex(given["merkle_root"]),
        previous_hash=bytes.fromhex(given["previous_hash"]),
        created_at=datetime.fromisoformat(given["created_at"]),
        leaves=packed,
    )
    return Chained(block, bytes.fromhex(given["block_hash"]))
