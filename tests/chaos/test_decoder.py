"""Can any bytes do more to a reader than be refused?

Whatever is published, the readers answer with a value or with `Permanent`; and what the worker then
says about the failure can always be said. A few thousand inputs by default, 10^6 with `--soak`.
"""

import json
from datetime import UTC, datetime
from random import Random

import pika
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl.dead_letters.queues import read
from hitl.dead_letters.text import as_object
from services.logger.copying import event_lines
from services.logger.rows import read_event, read_item
from shared.clock import utc_now
from shared.errors import Permanent
from shared.events.envelope import decode, encode
from shared.events.models import ItemFailed
from shared.events.registry import PUBLISHED, REGISTRY
from shared.events.submissions import excerpt, guess_id, receive_item
from shared.events.traceparent import trace_id, traceparent_of
from shared.messages import Delivery
from shared.messaging.retry import attempts, dead_letter, redriven_headers
from shared.workflows.files import workflow_of
from tests.support.example_events import ACCEPTED, FAILED, REVIEW_REQUESTED, REVIEWED, SCORED

KINDS = [kind for kind, _ in REGISTRY]
BODIES = [
    *(one.model_dump_json().encode() for one in (SCORED, ACCEPTED, REVIEWED, REVIEW_REQUESTED)),
    FAILED.model_dump_json().encode(),
    json.dumps({"id": "1", "text": "fine", "metadata": {"n": [1, None]}}).encode(),
    b"",
    b"null",
    b'{"text": "\\ud83d"}',
    b'{"text": "a", "metadata": ' + b'{"a":' * 300 + b"1" + b"}" * 301,
    '{"id": "\u0000", "text": "\u200b"}'.encode(),
]
VALUES: list[object] = [
    "", "x", "1", "item.scored", "item.scored.sentiment", "\0", "9" * 5_000, "é" * 200, b"\xff\x00",
    0, -1, 2**63 - 1, True, None, 1.5, ["a"], {"b": 1}, datetime(2024, 1, 1, tzinfo=UTC),
    datetime(1, 1, 1),
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "00-" + "0" * 32 + "-" + "0" * 16 + "-00",
]  # fmt: skip
HEADERS = [
    "cloudEvents_id", "cloudEvents:id", "cloudEvents_type", "cloudEvents_schemaversion",
    "cloudEvents_subject", "cloudEvents_source", "cloudEvents_time", "traceparent", "x-attempt",
    "cloudEvents_traceparent", "x-delivery-count", "x-acquired-count", "x-hitl-exchange",
    "x-hitl-routing-key", "x-hitl-redrives", "x-hitl-failed-at", "x-hitl-reason", "x-death",
    "x-first-death-reason",
]  # fmt: skip
KEYS = ["sentiment", "", "item.scored.sentiment", "item.failed.x", "Not A Name", "\u2603", "a.b.c"]
QUEUES = ["hitl.sentiment.inference", "hitl.router", "hitl.log", "hitl.sentiment.review"]


def survives(delivery: Delivery) -> None:
    """Every reader of the project reads it, or refuses it; then the refusal is written down."""
    for exchange in ("hitl.items", "hitl.events"):
        reading: list[object] = []
        try:
            if exchange == "hitl.items":
                submitted = receive_item(
                    delivery, workflow="sentiment", max_body_bytes=1_000_000, clock=utc_now
                )
                reading = [read_item(delivery, "sentiment", max_body_bytes=10**6, clock=utc_now)]
                submitted.model_dump_json().encode()
            else:
                event = decode(delivery, *PUBLISHED)
                encode(event, source="test", traceparent=traceparent_of(delivery)).body.decode()
                row = read_event(delivery)
                assert event_lines([row]).count(b"\n") == 1
                reading = [row]
        except Permanent as refused:
            error = refused
        else:
            assert reading
            continue
        failed = ItemFailed(
            workflow=workflow_of(delivery.queue, delivery.routing_key),
            occurred_at=utc_now(),
            failed_item_id=guess_id(delivery),
            queue=delivery.queue,
            reason=error.reason,
            detail=error.detail,
            text=excerpt(delivery),
            attempts=attempts(delivery),
        )
        message = encode(failed, source="test", traceparent=traceparent_of(delivery))
        assert len(message.routing_key.encode()) <= 255
        trace_id(traceparent_of(delivery))
        dead_letter(delivery, error, failed_at=utc_now().isoformat())
        redriven_headers(delivery)


def mutant(random: Random) -> Delivery:
    """A message near one that is right: bytes flipped, cut, doubled, or moved between two."""
    body = bytearray(random.choice(BODIES))
    for _ in range(random.randrange(4)):
        place = random.randrange(len(body) + 1)
        match random.randrange(5):
            case 0:
                del body[place : place + random.randrange(30)]
            case 1:
                body[place:place] = random.randbytes(random.randrange(1, 5))
            case 2:
                body[place:place] = random.choice(BODIES)[: random.randrange(60)]
            case 3 if body:
                body[place % len(body)] = random.randrange(256)
            case _:
                token = (b"\\u0000", b"NaN", b"-0", b"1e999", b"null", b"[]", b'"', b"\xed\xa0\x80")
                body[place : place + random.randrange(8)] = random.choice(token)
    return Delivery(
        queue=random.choice(QUEUES),
        exchange=random.choice(("hitl.items", "hitl.events", "")),
        routing_key=random.choice(KEYS),
        body=bytes(body),
        headers={
            **{"cloudEvents_type": random.choice(KINDS)},
            **{random.choice(HEADERS): random.choice(VALUES) for _ in range(random.randrange(4))},
        },
        tag=1,
        message_id=random.choice((None, "", "m1", "\0", "m" * 255)),
        content_encoding=random.choice((None, None, None, "utf-8", "gzip", "")),
        timestamp=random.choice((None, 0, 1, 2**40, 2**63)),
    )


@pytest.mark.timeout(0)
def test_no_mutant_does_more_than_be_refused(request: pytest.FixtureRequest) -> None:
    count = 1_000_000 if request.config.getoption("--soak") else 5_000
    seed = Random().randrange(10**9)
    for number in range(count):
        delivery = mutant(Random(seed + number))
        try:
            survives(delivery)
        except Exception as error:
            raise AssertionError(f"Random({seed + number}): {delivery}") from error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(
    body=st.binary()
    | st.builds(json.dumps, JSON).map(str.encode)
    | st.fixed_dictionaries({"text": JSON, "id": JSON, "metadata": JSON})
    .map(json.dumps)
    .map(str.encode),
    headers=st.dictionaries(
        st.sampled_from(HEADERS), st.sampled_from(VALUES) | st.text() | st.binary()
    ),
    message_id=st.none() | st.text(max_size=255),
)
def test_no_invented_message_does_more_than_be_refused(
    body: bytes, headers: dict[str, object], message_id: str | None
) -> None:
    survives(
        Delivery("hitl.log", "hitl.items", "sentiment", body, headers, tag=1, message_id=message_id)
    )


def test_every_mutant_can_be_shown_as_a_dead_letter() -> None:
    for number in range(1_000):
        delivery = mutant(Random(number))
        method = pika.spec.Basic.Deliver(
            delivery_tag=1, exchange="", routing_key=delivery.routing_key, redelivered=False
        )
        properties = pika.BasicProperties(
            headers=dict(delivery.headers),
            message_id=delivery.message_id,
            timestamp=delivery.timestamp,
        )
        letter = read("hitl.router.dlq", method, properties, delivery.body)
        json.dumps(as_object(letter), ensure_ascii=False).encode()
