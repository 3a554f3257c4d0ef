"""The ledger's hashes, pure: Merkle trees, blocks, salted commitments to texts.

Every hash is SHA-256 over one byte that says what follows, then that: 0x00 a leaf and 0x01 a node
of the tree (RFC 6962, section 2.1), 0x02 a block's header, 0x03 a text. docs/build/ledger.md has a
verifier of thirty lines that shares no code with this one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple

from pydantic_core import to_json

LEAF, NODE, HEADER, TEXT = b"\x00", b"\x01", b"\x02", b"\x03"
HASH_BYTES = 32
SALT_BYTES = 32
ID_BYTES = 16  # a UUID
EMPTY_ROOT = sha256(b"").digest()

Metadata = str | dict[str, str] | None
"""JSON text in any form; or what holds nothing but texts, at a third of the price; None where there
was none (an excerpt of a message that could not be read)."""


class Leaf(NamedTuple):
    """One event of a block: its id (16 bytes) and the hash of all that its row says."""

    event_id: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Block:
    """A committed batch. `leaves` are its events in order, as `pack` writes them; block 0 has none
    and counts the events that were there before the ledger."""

    height: int
    count: int
    first_seq: int
    last_seq: int
    merkle_root: bytes
    previous_hash: bytes
    created_at: datetime
    leaves: bytes

    @property
    def header(self) -> bytes:
        """Canonical JSON: keys sorted, no blanks, ASCII, hashes in hex, the time in UTC with
        microseconds."""
        return json.dumps(
            {
                "count": self.count,
                "created_at": utc_text(self.created_at),
                "first_seq": self.first_seq,
                "height": self.height,
                "last_seq": self.last_seq,
                "merkle_root": self.merkle_root.hex(),
                "previous_hash": self.previous_hash.hex(),
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()

    @property
    def hash(self) -> bytes:
        """What the next block names as the one before it."""
        return sha256(HEADER + self.header).digest()


def leaf_hash(row: str) -> bytes:
    """The leaf of an event; `row`: the JSON text of its row (services/logger/chain.py)."""
    return sha256(LEAF + row.encode()).digest()


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """The root of the leaves' tree (RFC 6962): pairs, level by level; one without a partner moves
    up as it is."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [sha256(NODE + left + right).digest() for left, right in pairs]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def unpack(leaves: bytes) -> list[Leaf]:
    """The leaves of a block: ids and hashes, one after the other.

    Raises:
        ValueError: it ends in the middle of one.
    """
    size = ID_BYTES + HASH_BYTES
    if len(leaves) % size:
        raise ValueError(f"{len(leaves)} bytes are no whole number of leaves")
    return [
        Leaf(leaves[start : start + ID_BYTES], leaves[start + ID_BYTES : start + size])
        for start in range(0, len(leaves), size)
    ]


def commitment(salt: bytes, text: str, metadata: Metadata) -> bytes:
    """What a row says of a person's text: nothing, once the salt is gone."""
    return sha256(TEXT + salt + content(text, metadata)).digest()


def content(text: str, metadata: Metadata) -> bytes:
    """Canonical JSON of an item's text and metadata: keys sorted by code point, no blanks, nothing
    escaped that need not be, numbers without a fraction as integers."""
    if isinstance(metadata, dict):
        return to_json({"metadata": dict(sorted(metadata.items())), "text": text})
    if metadata is None or metadata == "{}":
        plain = metadata or "null"
    else:
        plain = _canonical(_parsed(metadata))
    return f'{{"metadata":{plain},"text":{_canonical(text)}}}'.encode()


def utc_text(time: datetime) -> str:
    """As in 2024-05-01T12:00:00.000000Z."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _number(digits: str) -> int | float:
    """Postgres writes 1e23 as 1 and 23 zeros, which is not the float's exact value, and keeps 1.0:
    a whole number is an integer here, of the digits that stand there."""
    number = float(digits)
    return int(Decimal(digits)) if number.is_integer() else number


# Made once: json.dumps and json.loads would make them anew for every text.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_parsed = json.JSONDecoder(parse_float=_number).decode
