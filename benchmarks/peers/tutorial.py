"""How fast is the pipeline of a tutorial? One loop: score a text, publish, write a row, ack.

The same model, merged, in transformers' own `pipeline`, with its default threads; no confirms.
"""

import json
import os
from datetime import UTC, datetime
from uuid import uuid4

import pika
from peft import PeftModel
from sqlalchemy.orm import Session
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from shared.models.minilm import base_folder
from shared.storage.database import connect
from shared.storage.tables import EventRow
from shared.topology import EVENTS, inference_queue

_ADAPTER = "services/inference/adapter"
_LABELS = {0: "negative", 1: "positive"}
_THRESHOLD = 0.85


def main() -> None:
    folder = str(base_folder())
    base = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, id2label=_LABELS, label2id={name: n for n, name in _LABELS.items()}
    )
    model = PeftModel.from_pretrained(base, _ADAPTER).merge_and_unload()
    classify = pipeline(
        "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(folder)
    )
    engine = connect(os.environ["DATABASE_URL"], pool_size=1)
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=1)
    with Session(engine) as session:

        def on_message(_channel, method, _properties, body):  # type: ignore[no-untyped-def]
            item = json.loads(body)
            (scored,) = classify(item["text"], truncation=True)
            sure = scored["score"] >= _THRESHOLD
            kind = "item.accepted" if sure else "item.review_requested"
            event = {"item": item, "label": scored["label"], "confidence": scored["score"]}
            channel.basic_publish(
                EVENTS,
                f"{kind}.sentiment",
                json.dumps(event),
                pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent.value),
            )
            session.add(
                EventRow(
                    event_id=uuid4(),
                    type=kind,
                    version=1,
                    workflow="sentiment",
                    item_id=item["id"],
                    occurred_at=datetime.now(UTC),
                    source="tutorial",
                    data={"label": scored["label"], "confidence": scored["score"]},
                )
            )
            session.commit()
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume(inference_queue("sentiment"), on_message)
        channel.start_consuming()


if __name__ == "__main__":
    main()
