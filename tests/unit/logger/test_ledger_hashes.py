"""Are the ledger's hashes those of RFC 6962, and does nothing that differs hash alike?"""

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from hitl.ledger.check import Chained, Checker, Event
from services.logger.ledger import (
    EMPTY_ROOT,
    Block,
    Leaf,
    commitment,
    content,
    leaf_hash,
    merkle_root,
    unpack,
)

# The leaves and roots that implementations of RFC 6962 test each other with
# (github.com/google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc).
LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
START = datetime(2024, 5, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_root_is_the_one_of_rfc_6962(size: int) -> None:
    hashes = [sha256(b"\0" + bytes.fromhex(leaf)).digest() for leaf in LEAVES[:size]]
    assert merkle_root(hashes).hex() == ROOTS[size - 1]


def test_no_leaves_have_the_root_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == sha256(b"").digest()


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_any_leaf_that_is_changed_moved_or_gone_changes_the_root(
    hashes: list[bytes], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(hashes) - 1))
    other = data.draw(st.integers(0, len(hashes) - 1))
    changed = hashes.copy()
    changed[place] = sha256(changed[place]).digest()
    swapped = hashes.copy()
    swapped[place], swapped[other] = swapped[other], swapped[place]
    shorter = hashes[:place] + hashes[place + 1 :]
    assert merkle_root(changed) != merkle_root(hashes)
    assert merkle_root(shorter) != merkle_root(hashes)
    assert (merkle_root(swapped) != merkle_root(hashes)) == (swapped != hashes)


def test_a_header_says_the_same_in_every_time_zone() -> None:
    block = Block(1, 2, 3, 4, b"r" * 32, b"p" * 32, START, b"")
    abroad = Block(
        1, 2, 3, 4, b"r" * 32, b"p" * 32, START.astimezone(timezone(timedelta(hours=5))), b""
    )
    assert json.loads(block.header)["created_at"] == "2024-05-01T12:00:00.000000Z"
    assert block.hash == abroad.hash


def test_leaves_that_are_cut_are_no_leaves() -> None:
    assert unpack(b"i" * 16 + b"h" * 32) == [Leaf(b"i" * 16, b"h" * 32)]
    with pytest.raises(ValueError, match="47 bytes"):
        unpack(b"x" * 47)


def test_a_commitment_tells_nothing_without_its_salt_and_everything_with_it() -> None:
    one = commitment(b"s" * 32, "a fine film", '{"row": 7}')
    assert one == commitment(b"s" * 32, "a fine film", '{"row":7.0}')
    assert one != commitment(b"t" * 32, "a fine film", '{"row": 7}')
    assert one != commitment(b"s" * 32, "a fine film.", '{"row": 7}')
    assert one != commitment(b"s" * 32, "a fine film", '{"row": 8}')
    assert one != commitment(b"s" * 32, "a fine film", None)
    said = b'{"metadata":{"a":[1,0.5],"b":null},"text":"\xc3\xbc \\"q\\""}'
    assert content('ü "q"', '{"b": null, "a": [1.0, 0.5]}') == said


@given(st.text(), st.dictionaries(st.text(), JSON, max_size=4))
def test_a_text_is_committed_to_alike_however_its_json_is_written(
    text: str, metadata: dict[str, object]
) -> None:
    written = to_json(metadata, inf_nan_mode="strings").decode()
    spaced = json.dumps(json.loads(written), indent=1)
    assert content(text, written) == content(text, spaced)
    assert json.loads(content(text, written))["text"] == text


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=4))
def test_metadata_of_texts_are_committed_to_as_their_json_is(
    text: str, metadata: dict[str, str]
) -> None:
    # The logger hashes what came, the verifier what Postgres holds.
    assert content(text, metadata) == content(text, json.dumps(metadata, ensure_ascii=True))


def test_the_checker_names_the_first_of_many() -> None:
    # Given two blocks of two events
    texts = [json.dumps({"n": number}) for number in range(4)]
    events = [Event(n + 1, bytes([n]) * 16, text) for n, text in enumerate(texts)]
    first = chained(0, b"random" * 5 + b"xx", [])
    second = chained(1, first.block_hash, events[:2])
    third = chained(2, second.block_hash, events[2:])
    # If the first event of the second, and an event before it, were altered
    checker = Checker({})
    checker.block(first)
    for event in (events[0], Event(2, events[1].event_id, "{}")):
        checker.event(event)
    checker.block(second)
    checker.event(Event(3, events[2].event_id, "[]"))
    checker.event(events[3])
    checker.block(third)
    # I expect both, the earlier first.
    what = [finding.what for finding in checker.finish()]
    assert len(what) == 2
    assert what[0].startswith("event 01010101-0101-0101-0101-010101010101 of block 1 (seq 2)")
    assert what[1].startswith("event 02020202-0202-0202-0202-020202020202 of block 2 (seq 3)")


def chained(height: int, previous: bytes, events: list[Event]) -> Chained:
    """A block as a logger would write it."""
    hashes = [leaf_hash(event.text) for event in events]
    block = Block(
        height=height,
        count=len(events),
        first_seq=events[0].seq if events else 0,
        last_seq=events[-1].seq if events else 0,
        merkle_root=merkle_root(hashes),
        previous_hash=previous,
        created_at=START,
        leaves=b"".join(e.event_id + h for e, h in zip(events, hashes, strict=True)),
    )
    return Chained(block, block.hash)
