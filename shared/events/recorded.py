"""What the event log keeps of an event: all but the words of a person.

They live beside it, so that they can be erased (shared/storage/tables).
"""

from typing import Any

from pydantic.main import IncEx
from pydantic_core import to_json

from shared.answers.reading import ANSWERS
from shared.events.answered import AnswerDecision, AnswerEvent, AnswerSubmitted
from shared.events.models import Event, ItemFailed

# A reviewer's note may quote the text, and is in `review_decision`.
_OF_ITEM: IncEx = {name: True for name in ("text", "metadata", "draft", "candidates", "action")}
_ITEM_TEXT: IncEx = {"item": _OF_ITEM, "review": {"note": True}}
_SUBMITTED_TEXT: IncEx = {"item": _OF_ITEM, "prediction": True}
# Of an answer that may hold a person's words the log says only whether it is the predicted one. The
# machine has another one where nothing was predicted, and a rule approved an action as it stands.
AS_PREDICTED, ANOTHER, BY_RULE = "(as predicted)", "(another answer)", "(by a rule)"
_FAILED_TEXT = {"text": True}


def recorded(event: Event) -> str:
    """The JSON of an event as the log keeps it."""
    if isinstance(event, ItemFailed):
        return event.model_dump_json(exclude=_FAILED_TEXT)
    if isinstance(event, AnswerSubmitted):
        return event.model_dump_json(exclude=_SUBMITTED_TEXT)
    if isinstance(event, AnswerEvent):
        return to_json(_answer_data(event)).decode()
    return event.model_dump_json(exclude=_ITEM_TEXT)


def final_mark(row: str = "") -> str:
    """The same in SQL, of a decided row of `item`, or of one called `row`."""
    at = f"{row}." if row else ""
    return (
        f"CASE WHEN {at}final_label = {at}ai_label THEN '{AS_PREDICTED}'"
        f" WHEN {at}status = 'AI_ACCEPTED' THEN '{BY_RULE}' ELSE '{ANOTHER}' END"
    )


def _answer_data(event: AnswerEvent) -> dict[str, Any]:
    """With the short lines of its answers as `label`s, so that who reads the log finds them where
    those of a `label` workflow are; a person's words are in neither."""
    data = event.model_dump(mode="json", exclude=_ITEM_TEXT)
    prediction, decision = event.prediction, getattr(event, "decision", None)
    quotes = ANSWERS[event.kind].quotes
    if prediction is not None:
        data["prediction"]["label"] = AS_PREDICTED if quotes else prediction.brief
    if isinstance(decision, AnswerDecision):
        same = prediction is not None and prediction.brief == decision.brief
        another = BY_RULE if decision.decided_by == "ai" else ANOTHER
        other = another if quotes else decision.brief
        data["decision"]["label"] = data["prediction"]["label"] if same else other
        data["decision"]["ai_label"] = data["prediction"] and data["prediction"]["label"]
    if quotes:
        for part in filter(None, (data["prediction"], data.get("decision"))):
            for name in ("answer", "ai_answer"):
                part.pop(name, None)
    return data
