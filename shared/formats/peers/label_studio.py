"""Label Studio: JSON tasks with `data`, `predictions` and `annotations`."""

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from shared.answers.base import KINDS, Kind
from shared.formats.example import (
    Example,
    Found,
    Json,
    Reading,
    Unreadable,
)
from shared.formats.peers.label_studio_regions import answer_in, regions
from shared.formats.strict_json import Unclear, refuse_unclear

SAYS: frozenset[Kind] = frozenset(KINDS)
RECORD = "task"
_PARTS = "prediction_parts"


def write(examples: Iterable[Example]) -> Iterator[str]:
    """The file in pieces."""
    before = "[\n"
    for example in examples:
        yield before + json.dumps(_task(example), ensure_ascii=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def read(content: bytes, reading: Reading) -> Iterator[Found]:
    """The tasks of a file."""
    try:
        refuse_unclear(content)
        tasks = json.loads(content)
    except (Unclear, RecursionError) as error:
        raise Unreadable(str(error) or "nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"no JSON: {error}") from None
    if not isinstance(tasks, list):
        raise Unreadable("must be a JSON array of tasks")
    for number, task in enumerate(tasks, start=1):
        try:
            example, others = _example(task, reading)
        except Unreadable as error:
            yield Found(number, None, str(error))
        else:
            yield Found(number, example, None, others)


def _task(example: Example) -> Json:
    task: Json = {"data": dict(example.item)}
    prediction = example.prediction
    if prediction is not None:
        results = regions(example, prediction["answer"])
        parts = prediction.get("parts")
        if example.kind == "spans":
            for result, p in zip(results, parts or (), strict=False):
                result["score"] = p
        elif parts is not None:
            task["data"][_PARTS] = parts
        task["predictions"] = [
            {
                "model_version": prediction["model_version"],
                "score": prediction["confidence"],
                "result": results,
            }
        ]
    if example.answer is not None:
        task["annotations"] = [{"result": regions(example, example.answer)}]
    return task


def _example(task: Any, reading: Reading) -> tuple[Example, tuple[str, ...]]:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise Unreadable("data: the object with the item is missing")
    kind = reading.kind
    item, others = reading.item_in(data, (_PARTS,))
    text = item.get("text")
    if not isinstance(text, str):
        raise Unreadable(f"data.{reading.text_column}: the text is missing")
    predictions = _full(task, "predictions")
    if len(predictions) > 1:
        raise Unreadable(f"predictions: {len(predictions)}, of which an item brings one")
    prediction = _prediction(predictions[0], kind, item, data) if predictions else None
    return Example(kind, item, prediction, _settled(task, kind, item)), others


def _full(task: Json, field: str) -> list[Json]:
    """The entries of a list, as far as they are exported in full and not as numbers."""
    found = task.get(field) or []
    if not isinstance(found, list):
        raise Unreadable(f"{field}: must be a list")
    return [entry for entry in found if isinstance(entry, dict)]


def _prediction(given: Json, kind: Kind, item: Json, data: Json) -> Json | None:
    answer = answer_in(given.get("result"), kind, item, "predictions[0].result")
    if answer is None:
        return None
    prediction: Json = {"answer": answer}
    if given.get("score") is not None:
        prediction["confidence"] = given["score"]
    if given.get("model_version") is not None:
        prediction["model_version"] = given["model_version"]
    if kind == "spans":
        scores = [result.get("score") for result in given["result"]]
        if scores and None not in scores:
            prediction["parts"] = scores
    elif data.get(_PARTS) is not None:
        prediction["parts"] = data[_PARTS]
    return prediction


def _settled(task: Json, kind: Kind, item: Json) -> Json | None:
    """What people answered: the ground truth where one is marked, else what all of them say."""
    given = [each for each in _full(task, "annotations") if not each.get("was_cancelled")]
    truth = [each for each in given if each.get("ground_truth")]
    found = [
        answer_in(each.get("result"), kind, item, f"annotations[{place}].result")
        for place, each in enumerate(truth or given)
    ]
    said = [answer for answer in found if answer is not None]
    return said[0] if said and all(one == other for one, other in pairwise(said)) else None
