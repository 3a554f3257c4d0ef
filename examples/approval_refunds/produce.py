"""Asks whether a program may do what it wants to: the calls of an assistant, which are recorded.

AMQP_URL=amqp://… python produce.py wishes.jsonl
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pika

WORKFLOW = "refunds"
PATIENCE = timedelta(days=1)


def wishes(file: str) -> Iterator[dict[str, object]]:
    """What the assistant would call, and upon which letter: its tool calls go here."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def item(wish: dict[str, object]) -> dict[str, object]:
    """The call as an action. Nothing is done before its decision comes from the queue
    `hitl.refunds.accepted`: with `verdict`, and the `arguments` that are to be used."""
    asked = json.dumps(wish, sort_keys=True).encode()
    return {
        "id": hashlib.sha256(asked).hexdigest()[:16],  # asked twice, it is decided once
        "text": wish["letter"],
        "action": wish["call"],
        "expires_at": (datetime.now(UTC) + PATIENCE).isoformat(),
    }


def main(file: str) -> None:
    items = [item(wish) for wish in wishes(file)]
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for each in items:
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(each).encode(), kept)
    print(f"{len(items)} items published to {WORKFLOW}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [str(Path(__file__).with_name("wishes.jsonl"))])
