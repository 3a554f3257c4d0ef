"""The ledger's records, from the database or from an export that needs none.

Both give the same stream. An export is JSON Lines: `{"event": TEXT, "seq": n}` for each event,
after those of a block `{"block": {…}}`, and at the end `{"end": {"blocks": n, "events": n}}`. TEXT
is, character for character, what the leaf was hashed from.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from hitl.ledger.check import Chained, Event
from hitl.support.written_file import written_file
from services.logger.chain import LEAF_TEXT
from services.logger.ledger import Block, unpack
from shared.errors import ConfigurationError
from shared.formats import json_lines
from shared.storage.database import database_errors

Record = Event | Chained

ROWS_AT_ONCE = 2_000
_EVENTS = f"SELECT seq, uuid_send(event_id), {LEAF_TEXT} FROM event ORDER BY seq"  # noqa: S608
_BLOCKS = """
    SELECT height, count, first_seq, last_seq, merkle_root, previous_hash, created_at, leaves,
           block_hash
    FROM ledger_block ORDER BY height
"""


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """One view of the database, for as long as it takes, while the loggers go on.

    Raises:
        Overloaded: the database is away.
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
    events = _events(connection)
    waiting = next(events, None)
    reached = 0
    for row in streamed(connection, _BLOCKS):
        height, count, first, last, root, previous, created_at, leaves, block_hash = row
        block = Block(
            height, count, first, last, bytes(root), bytes(previous), created_at, bytes(leaves)
        )
        reached = max(reached, last)
        while waiting is not None and waiting.seq <= reached:
            yield waiting
            waiting = next(events, None)
        yield Chained(block, bytes(block_hash))
    while waiting is not None:
        yield waiting
        waiting = next(events, None)


def counted(connection: Connection) -> int:
    """About how many events there are, for a progress bar: as many as the blocks say."""
    return int(
        connection.execute(text("SELECT coalesce(sum(count), 0) FROM ledger_block")).scalar_one()
    )


def export(records: Iterator[Record], file: Path) -> Iterator[Record]:
    """Writes each record, and hands it on. The file appears only when it is whole."""
    blocks = events = 0
    with _opened(file, packed=file.suffix == ".gz") as out:
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
    """The records of an export; `advance` is told of the bytes that were read.

    Raises:
        ConfigurationError: it is no export, or not a whole one.
    """
    records = 0
    whole = False
    try:
        with file.open("rb") as raw, _unpacked(raw, packed=file.suffix == ".gz") as lines:
            before = 0
            for line in lines:
                if whole:
                    raise ConfigurationError(f"{file}: something follows its end")
                found = json.loads(line)
                if "end" in found:
                    whole = records == found["end"]["blocks"] + found["end"]["events"]
                else:
                    records += 1
                    yield _record(found)
                advance(raw.tell() - before)
                before = raw.tell()
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{file} is no export of the ledger: {error}") from error
    if not whole:
        raise ConfigurationError(f"{file} is not whole: it ends too early or lines are missing")


def _events(connection: Connection) -> Iterator[Event]:
    for seq, event_id, leaf in streamed(connection, _EVENTS):
        yield Event(seq, bytes(event_id), leaf)


@contextmanager
def _opened(file: Path, *, packed: bool) -> Iterator[BinaryIO]:
    with written_file(file) as raw:
        if not packed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, filename="", mtime=0) as out:
            yield cast(BinaryIO, out)


@contextmanager
def _unpacked(raw: BinaryIO, *, packed: bool) -> Iterator[Iterable[bytes]]:
    if not packed:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw, mode="rb") as lines:
        yield lines


def _block_object(found: Chained) -> dict[str, Any]:
    block = found.block
    header: dict[str, Any] = json.loads(block.header)
    return {
        **header,
        "block_hash": found.block_hash.hex(),
        "leaves": _leaves(block.leaves),
    }


def _leaves(packed: bytes) -> list[list[str]] | str:
    """As pairs of id and hash; as it is, in hex, where somebody has cut it."""
    try:
        return [[str(UUID(bytes=leaf.event_id)), leaf.hash.hex()] for leaf in unpack(packed)]
    except ValueError:
        return packed.hex()


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
