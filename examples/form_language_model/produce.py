"""Publishes invoices with the fields that a language model read in them; its replies are recorded.

AMQP_URL=amqp://… python produce.py
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
from jsonschema import Draft202012Validator

HERE = Path(__file__).parent
WORKFLOW = "invoices"
MODEL = "recorded-replies@1"


def replies() -> Iterator[tuple[str, str, str]]:
    """Id, text, and what the model said of it: here goes the call of yours."""
    with (HERE / "replies.jsonl").open(encoding="utf-8") as recorded:
        for line in recorded:
            each = json.loads(line)
            yield each["id"], each["text"], each["reply"]


def predicted(reply: str, schema: Draft202012Validator) -> dict[str, Any] | None:
    """The prediction in a reply `{"form": {…}, "sure": {field: 0 to 1}}`; None where there is none
    that the schema allows."""
    try:
        said = json.loads(reply)
        form, sure = said["form"], {field: float(p) for field, p in said["sure"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not schema.is_valid(form) or not set(form) <= set(sure):
        return None
    return {
        "answer": {"form": form},
        "confidence": min(sure[field] for field in form),
        "parts": {field: sure[field] for field in form},
        "model_version": MODEL,
    }


def items() -> Iterator[dict[str, Any]]:
    """Each invoice, with its prediction where there is one."""
    schema = Draft202012Validator(json.loads((HERE / "invoices.schema.json").read_text("utf-8")))
    for item_id, text, reply in replies():
        prediction = predicted(reply, schema)
        brought = {} if prediction is None else {"prediction": prediction}
        yield {"id": item_id, "text": text, **brought}


def main() -> None:
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for number, item in enumerate(items(), start=1):
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(item).encode(), kept)
            without = "" if "prediction" in item else ", without a prediction"
            print(f"{number}: {item['id']}{without}")


if __name__ == "__main__":
    main()
