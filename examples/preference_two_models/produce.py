"""Publishes questions with the answers of two models, to be told which is better.

AMQP_URL=amqp://… python produce.py answers.jsonl
"""

import json
import os
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pika

WORKFLOW = "better"


def answered(file: str) -> Iterator[dict[str, Any]]:
    """Questions and both answers, by model: the calls of yours go here."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def item(row: dict[str, Any]) -> dict[str, object]:
    """The answers in an order drawn for each question, so that no model always comes first.

    `metadata.candidates` says whose they are, so that the dashboard tells which model wins. Where
    reviewers know your models' names, write others.
    """
    answers = row["answers"]
    # By a hash, so that a question that is sent twice is the same item.
    models = sorted(answers, key=lambda model: sha256(f"{row['id']} {model}".encode()).digest())
    return {
        "id": row["id"],
        "text": row["question"],
        "candidates": [answers[model] for model in models],
        "metadata": {"candidates": models},
    }


def main(file: str) -> None:
    items = [item(row) for row in answered(file)]
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for each in items:
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(each).encode(), kept)
    print(f"{len(items)} items published to {WORKFLOW}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [str(Path(__file__).with_name("answers.jsonl"))])
