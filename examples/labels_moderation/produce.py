"""Publishes messages with the labels that a list of words predicts: put your scorer in its place.

AMQP_URL=amqp://… python produce.py messages.txt
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import pika

WORKFLOW = "moderation"
MODEL = "word-list@1"
LABELS = ("toxic", "insult", "threat")
SURELY_NOT = 0.04  # what is left of doubt where no word speaks for a label
# How much a word speaks for a label, made up.
WORDS = {
    "idiot": {"toxic": 0.9, "insult": 0.97},
    "moron": {"toxic": 0.9, "insult": 0.97},
    "pathetic": {"toxic": 0.7, "insult": 0.6},
    "worthless": {"toxic": 0.8, "insult": 0.7},
    "garbage": {"toxic": 0.5, "insult": 0.1},
    "shut up": {"toxic": 0.7, "insult": 0.3},
    "find you": {"toxic": 0.6, "threat": 0.9},
    "hurt you": {"toxic": 0.8, "threat": 0.95},
}


def scored(text: str) -> dict[str, float]:
    """How likely each label is: words that speak for it add up like independent witnesses."""
    doubt = dict.fromkeys(LABELS, 1 - SURELY_NOT)
    for word, weights in WORDS.items():
        if re.search(rf"\b{word}\b", text, flags=re.IGNORECASE):
            for label, weight in weights.items():
                doubt[label] *= 1 - weight
    return {label: round(1 - left, 4) for label, left in doubt.items()}


def item(text: str) -> dict[str, object]:
    """A message with what is predicted of it."""
    parts = scored(text)
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],  # sent twice, it is one item
        "text": text,
        "prediction": {
            "answer": {"labels": [label for label, p in parts.items() if p >= 0.5]},
            "confidence": min(max(p, 1 - p) for p in parts.values()),
            "parts": parts,
            "model_version": MODEL,
        },
    }


def main(file: str) -> None:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    items = [item(line) for line in lines if line.strip()]
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for each in items:
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(each).encode(), kept)
    print(f"{len(items)} items published to {WORKFLOW}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [str(Path(__file__).with_name("messages.txt"))])
