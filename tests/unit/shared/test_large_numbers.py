"""Is a number that not every reader reads alike refused wherever an answer comes in?"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

from shared.answers.base import Action, AnswerError, AnswerSpec, Asked
from shared.answers.reading import read_answer
from shared.errors import Permanent
from shared.events.answered import AnswerPrediction
from shared.events.submissions import receive_item
from shared.messages import Delivery

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LARGEST = 2**53 - 1
FORM = AnswerSpec(kind="form", schema={"type": "object"}, predictions=True)
TOO_LARGE = [2**53, -(2**53), 10**30, 1e300, float(2**53)]


def received(spec: AnswerSpec, **more: Any) -> Any:
    body = json.dumps({"id": "i", "text": "t", **more}).encode()
    sent = Delivery(queue="q", exchange="hitl.items", routing_key="w", body=body, headers={}, tag=1)
    return receive_item(
        sent, workflow="w", max_body_bytes=10_000, clock=lambda: NOW, spec=spec
    ).item


@pytest.mark.parametrize("number", TOO_LARGE)
def test_an_answer_with_a_number_that_a_page_would_round_is_refused_with_its_path(
    number: float,
) -> None:
    # Whoever answers, a person, a program or a model,
    with pytest.raises(AnswerError) as refused:
        read_answer({"form": {"lines": [{"id": number}]}}, FORM, Asked("t"))
    assert refused.value.field == "answer.form.lines[0].id"
    assert "let the schema ask for a text" in refused.value.reason
    approval = {"verdict": "approve", "arguments": {"id": number}}
    with pytest.raises(AnswerError, match=r"answer\.arguments\.id: .*beyond"):
        read_answer(approval, AnswerSpec(kind="approval"), Asked("t", action=None))
    # a producer who predicts, or asks for an action,
    said = {"answer": {"form": {"id": number}}, "confidence": 0.9, "model_version": "m"}
    with pytest.raises(Permanent, match=r"prediction\.answer\.form\.id: .*beyond"):
        received(FORM, prediction=said)
    with pytest.raises(Permanent, match=r"action\.arguments\.id: .*beyond"):
        received(
            AnswerSpec(kind="approval", predictions=True),
            action={"name": "refund", "arguments": {"id": number}},
        )
    # and an event that is read.
    with pytest.raises(ValidationError, match="beyond"):
        AnswerPrediction(
            kind="form", answer={"form": {"id": number}}, confidence=0.9, model_version="m"
        )


def test_the_largest_whole_numbers_and_every_fraction_are_taken_as_they_are() -> None:
    form: dict[str, JsonValue] = {"a": LARGEST, "b": -LARGEST, "c": 0.1 + 0.2, "d": 1e-300}
    form["e"] = "9007199254740993"
    assert read_answer({"form": form}, FORM, Asked("t")).value == {"form": form}
    asked = received(
        AnswerSpec(kind="approval", predictions=True), action={"name": "pay", "arguments": form}
    )
    assert asked.action == Action(name="pay", arguments=form)
