"""Checks whether the ledger is whole, and names the first event or block that is not; pure.

Takes events in the order of `seq` and each block after all events up to its last; keeps only what
no block has claimed yet, so that memory does not grow with the ledger. A redacted row
(hitl/ledger/quotes.py) is accepted where a later event of the ledger has the hash of its new text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.logger.ledger import Block, Leaf, leaf_hash, merkle_root, unpack

ITEM_REDACTED = "item.redacted"
ERASED = "[erased]"
MAX_FINDINGS = 1_000  # more would not tell an operator more


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `event`: its place, its id (16 bytes) and the JSON text that its leaf is made of."""

    seq: int
    event_id: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Chained:
    """A block as it was found, with its stored hash."""

    block: Block
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and where in the ledger's order."""

    height: int
    seq: int
    what: str


@dataclass(slots=True)
class _Unclaimed:
    seq: int
    hash: bytes
    height: int  # of the block that was awaited when it came
    text: str


class Checker:
    """Give it all records with `event` and `block`, then call `finish`."""

    def __init__(self, anchors: Mapping[int, bytes]) -> None:
        """`anchors`: by height, the hashes of blocks at the time when they were anchored."""
        self.findings: list[Finding] = []
        self.events = 0
        self.uncovered = 0  # events from before the ledger
        self.redacted = 0  # failures whose error was redacted, as an event records
        self.head: Chained | None = None
        self._anchors = anchors
        self._seen_anchors: set[int] = set()
        self._unclaimed: dict[bytes, _Unclaimed] = {}
        self._altered: dict[str, tuple[_Unclaimed, Finding]] = {}
        self._redactions: dict[str, str] = {}  # event id → its leaf from then on

    def event(self, event: Event) -> None:
        """Remembers it until its block comes."""
        self.events += 1
        height = 0 if self.head is None else self.head.block.height + 1
        if event.event_id in self._unclaimed:
            self._found(height, f"event {_name(event.event_id)} is duplicated", event.seq)
            return
        self._unclaimed[event.event_id] = _Unclaimed(
            event.seq, leaf_hash(event.text), height, event.text
        )

    def block(self, found: Chained) -> None:
        """Checks it against its hash, the block before and its events."""
        block = found.block
        self._chain(found)
        self._anchor(found)
        if block.height == 0:
            self._first(block)
        else:
            self._events(block)
        if self.head is None or block.height > self.head.block.height:
            self.head = found

    def finish(self) -> list[Finding]:
        """What is wrong, the first first; empty where everything is as it was committed."""
        for name, (altered, finding) in self._altered.items():
            if self._redactions.get(name) == altered.hash.hex() and _is_redacted(altered.text):
                self.redacted += 1
            else:
                self._found(finding.height, finding.what, finding.seq)
        if self.head is None:
            self._found(0, "block 0 is missing: there is no ledger", 0)
        for event_id, event in self._unclaimed.items():
            at = f"event {_name(event_id)} (seq {event.seq})"
            self._found(
                event.height, f"{at} is in no block: inserted, or its block was removed", event.seq
            )
        last = -1 if self.head is None else self.head.block.height
        for height in sorted(self._anchors.keys() - self._seen_anchors):
            end = f": the ledger ends at {last}" if height > last else ""
            missing = f"block {height} is missing, which an anchor names{end}"
            self._found(min(height, last + 1), missing)
        return sorted(self.findings, key=lambda found: (found.height, found.seq))

    def _chain(self, found: Chained) -> None:
        block, before = found.block, self.head
        expected = 0 if before is None else before.block.height + 1
        if block.height > expected:
            more = f" to {block.height - 1}" if block.height - 1 > expected else ""
            self._found(expected, f"block {expected}{more} is missing")
        elif block.height < expected:
            self._found(block.height, f"block {block.height} is duplicated or out of order")
        if block.hash != found.block_hash:
            altered = f"block {block.height} was altered: its hash is not its header's"
            self._found(block.height, altered)
        follows = before is None or block.previous_hash == before.block_hash
        if block.height == expected and not follows:
            self._found(
                block.height,
                f"block {block.height} does not follow block {expected - 1}: one of the two was"
                " altered or replaced",
            )

    def _anchor(self, found: Chained) -> None:
        height = found.block.height
        if height not in self._anchors:
            return
        self._seen_anchors.add(height)
        if self._anchors[height] != found.block_hash:
            rewritten = f"block {height} is not the one that was anchored: history was rewritten"
            self._found(height, rewritten)

    def _first(self, block: Block) -> None:
        early = [key for key, event in self._unclaimed.items() if event.seq <= block.last_seq]
        for key in early:
            del self._unclaimed[key]
        self.uncovered = len(early)
        if len(early) != block.count:
            counts = f"block 0 counts {block.count} events from before the ledger"
            self._found(0, f"{counts}; there are {len(early)}", 0)

    def _events(self, block: Block) -> None:
        try:
            leaves = unpack(block.leaves)
        except ValueError as error:
            self._found(block.height, f"block {block.height} was altered: {error}")
            return
        root = merkle_root([leaf.hash for leaf in leaves])
        if root != block.merkle_root or len(leaves) != block.count:
            altered = f"block {block.height} was altered: its leaves do not give its Merkle root"
            self._found(block.height, altered)
        before = block.first_seq - 1
        for leaf in leaves:
            before = self._leaf(block, leaf, before)

    def _leaf(self, block: Block, leaf: Leaf, before: int) -> int:
        """Checks one event; the highest `seq` so far."""
        name, height = _name(leaf.event_id), block.height
        event = self._unclaimed.pop(leaf.event_id, None)
        if event is None:
            self._found(height, f"event {name} of block {height} is missing", before)
            return before
        at = f"event {name} of block {height} (seq {event.seq})"
        if event.hash != leaf.hash:
            if len(self._altered) < MAX_FINDINGS:
                self._altered[name] = (event, Finding(height, event.seq, f"{at} was altered"))
        elif ITEM_REDACTED in event.text:
            self._redactions |= _redactions(event.text)
        if not before < event.seq <= block.last_seq:
            self._found(height, f"{at} was reordered: it stands elsewhere", min(before, event.seq))
        return max(before, event.seq)

    def _found(self, height: int, what: str, seq: int = -1) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(height, seq, what))


def _redactions(row: str) -> dict[str, str]:
    """By event id, the new leaves that an `item.redacted` records; empty for other events."""
    found = json.loads(row)
    if found["type"] != ITEM_REDACTED:
        return {}
    return {str(event_id): str(leaf) for event_id, leaf in found["data"]["leaves"].items()}


def _is_redacted(row: str) -> bool:
    """Only the detail of a failure may be redacted."""
    found = json.loads(row)
    return bool(found["type"] == "item.failed" and found["data"].get("detail") == ERASED)


def _name(event_id: bytes) -> str:
    return str(UUID(bytes=event_id))
