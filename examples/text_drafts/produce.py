"""Publishes letters with replies that a language model drafted; its replies are recorded.

AMQP_URL=amqp://… python produce.py drafts.jsonl
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pika

WORKFLOW = "drafts"
MODEL = "language-model@recorded"


def replies(file: str) -> Iterator[dict[str, object]]:
    """What the model wrote, and how sure it says that it is: the call of yours goes here."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def item(reply: dict[str, object]) -> dict[str, object]:
    """A letter with its draft. The prediction says that the draft is the right reply as it stands;
    without one, each goes to a person, who has the draft all the same."""
    return {
        "id": reply["id"],
        "text": reply["letter"],
        "draft": reply["draft"],
        "prediction": {
            "answer": {"text": reply["draft"]},
            "confidence": reply["sure"],
            "model_version": MODEL,
        },
    }


def main(file: str) -> None:
    items = [item(reply) for reply in replies(file)]
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for each in items:
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(each).encode(), kept)
    print(f"{len(items)} items published to {WORKFLOW}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [str(Path(__file__).with_name("drafts.jsonl"))])
