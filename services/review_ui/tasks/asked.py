"""What a task asks, read from its row: the item, what was predicted, and answers to it."""

from shared.answers.base import Answer, AnswerSpec, Asked, Kind, same_brief
from shared.answers.reading import KIND_NAMES, read_answer
from shared.events.answered import AnswerItem, AnswerPrediction
from shared.events.models import Item, Prediction
from shared.storage.tables import ReviewTask


def kind_of(task: ReviewTask) -> Kind:
    """Which kind of answer it asks for."""
    return "label" if task.kind is None else KIND_NAMES[task.kind]


def item_of(task: ReviewTask) -> Item:
    """The item; with more than text and metadata where more than a label is asked for."""
    return (Item if task.kind is None else AnswerItem).model_validate(task.item)


def prediction_of(task: ReviewTask) -> Prediction | AnswerPrediction | None:
    """What was predicted, if anything."""
    given = task.prediction
    if given is None:
        return None
    return (AnswerPrediction if "kind" in given else Prediction).model_validate(given)


def predicted_brief(task: ReviewTask) -> str | None:
    """The predicted answer in a short line, if there is one."""
    return None if task.prediction is None else str(task.prediction["label"])


def same_answer(task: ReviewTask, one: str, other: str) -> bool:
    """Whether two answers to it, by their short lines, are the same."""
    return same_brief(task.kind, one, other)


def answer_to(task: ReviewTask, value: object, spec: AnswerSpec) -> Answer:
    """The answer that somebody gives, in its normal form.

    Raises:
        AnswerError: it is no answer to this task.
    """
    item = item_of(task)
    asked = item.asked if isinstance(item, AnswerItem) else Asked(item.text)
    return read_answer(value, spec, asked)
