"""Do the copies of a message still look as operators and older releases know them?

A message that is tried again or set aside lies in a queue as a copy, maybe over an upgrade: the
release that finds it must read what the one before has written. `copies.json` holds each copy of
one delivery that has everything; `WRITE_GOLDEN=1 pytest tests/contract` writes it.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hitl.recovery.rebuild_queues import log_copy
from shared.errors import Permanent, Retryable
from shared.messages import Delivery, Outgoing
from shared.messaging.retry import RetryPolicy, dead_letter, redriven_headers, restore_origins

GOLDEN = Path(__file__).parent / "copies.json"
FIRST = ("hitl.items", "sentiment")
OWN = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "cloudEvents_id": "e-1", "shop": 7}


def delivery() -> Delivery:
    """One that has come by a second time and has every property there is."""
    return Delivery(
        queue="hitl.sentiment.inference",
        exchange=FIRST[0],
        routing_key=FIRST[1],
        body=b'{"text": "x"}',
        headers={
            **OWN,
            "x-attempt": 2,
            "x-delivery-count": 1,
            "x-death": [{"queue": "hitl.sentiment.inference.retry.5s", "count": 1}],
        },
        tag=1,
        redelivered=True,
        message_id="order-17",
        content_type="application/json",
        content_encoding="utf-8",
        timestamp=1_772_366_400,
        type="review",
        priority=3,
        others={"reply_to": "answers", "user_id": "shop", "expiration": "5000", "app_id": "a"},
    )


def copies() -> dict[str, Outgoing]:
    retried = RetryPolicy((5, 30), delivery_limit=5).after(
        delivery(), Retryable("Postgres is away"), jitter=0.5
    )
    assert isinstance(retried, Outgoing)
    return {
        "tried again": retried,
        "set aside": dead_letter(
            delivery(), Permanent("schema", "text: missing"), failed_at="2026-03-01T12:00:00+00:00"
        ),
        "for the log": log_copy(delivery()),
    }


def as_json(message: Outgoing) -> dict[str, Any]:
    names = Outgoing.__slots__
    return {name: getattr(message, name) for name in names if name != "body"}


def seen() -> dict[str, Any]:
    written = {name: as_json(message) for name, message in copies().items()}
    return {**written, "put back": {"headers": redriven_headers(delivery())}}


@pytest.fixture(scope="module", autouse=True)
def written_on_request() -> None:
    if os.environ.get("WRITE_GOLDEN") == "1":
        GOLDEN.write_text(json.dumps(seen(), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def test_each_copy_says_what_it_said_in_the_last_release() -> None:
    promised = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert seen() == promised
    assert all(message.body == delivery().body for message in copies().values())


@pytest.mark.parametrize("name", ["tried again", "set aside", "for the log"])
def test_a_copy_that_comes_back_is_what_was_first_published(name: str) -> None:
    # Given a copy that reaches a consumer, as it does from a queue: through the default exchange
    copy = copies()[name]
    back = Delivery("hitl.log", "", copy.routing_key, copy.body, copy.headers, tag=9)
    restore_origins([back])
    # I expect it to name where it was first sent, and nothing of its own to be lost
    assert (back.exchange, back.routing_key) == FIRST
    assert {key: back.headers[key] for key in OWN} == OWN


def test_a_count_of_attempts_that_somebody_has_copied_is_dropped() -> None:
    forged = Delivery("hitl.log", *FIRST, b"", {"shop": 7, "x-attempt": 5}, tag=9)
    restore_origins([forged])
    assert forged.headers == {"shop": 7}
    assert (forged.exchange, forged.routing_key) == FIRST
