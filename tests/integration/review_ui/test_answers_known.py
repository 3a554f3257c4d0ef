"""Do gold items of every kind of answer measure by the very answer?"""

import json
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.reports import quality
from services.review_ui.tasks import claim, gold
from services.review_ui.tasks.decide import DecisionRequest, decide
from services.review_ui.tasks.filters import EVERYTHING
from services.review_ui.tasks.gold import GoldError
from services.review_ui.tasks.intake import Intake
from services.review_ui.tasks.views import view
from shared.formats.json_lines import Line
from shared.workflows.files import ReviewRules, Workflow
from tests.support.answer_requests import asks
from tests.support.item_events import delivered
from tests.support.review_service import START
from tests.support.sample_answers import SAMPLES, TEXT, Sample


@pytest.mark.parametrize("predicted", [True, False], ids=["predicted", "open"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_only_the_known_answer_itself_counts_as_right(
    sample: Sample, predicted: bool, engine: Engine
) -> None:
    # Given a gold item in a file, and a task in whose place it comes
    kind, spec = sample.kind, sample.spec
    schema = {"schema": {"type": "object"}} if kind == "form" else {}
    flow = Workflow(
        name=kind, answer=kind, labels=spec.labels, model="none",
        review=ReviewRules(seeded_share=1.0), **schema,
    )  # fmt: skip
    row = {"id": "known", "text": TEXT, "answer": sample.predicted, **sample.brings}
    known = gold.read([Line(1, json.dumps(row).encode())], flow)
    given = sample.read(sample.near[0]).value if predicted else None
    request = asks(kind, "real", given, **sample.item("real").model_dump(include={*sample.brings}))
    Intake(engine, lambda: START).handle([delivered(request)])
    with Session(engine) as session, session.begin():
        assert gold.add(session, kind, known, START) == 1
    # If one answers as is known, and another differs by a hair
    for reviewer, answer in (("ada", sample.predicted), ("bob", sample.near[0])):
        with Session(engine) as session, session.begin():
            claimed = claim.claim(
                session, reviewer, workflows=[kind], count=1, now=START, lease_seconds=60,
                wanted=EVERYTHING, lead=False,
            )  # fmt: skip
            (task,) = gold.mix_in(
                session, reviewer, claimed, {kind: flow}, now=START, lease_seconds=60
            )
            assert (task.item_id, task.seeded_for) == ("known", reviewer)
            seen = view(task, {}, reviewer)
            assert (seen.blind, seen.prediction) == (predicted, None)
            asked = DecisionRequest(
                key=uuid4(), task_id=task.id, lease_token=task.lease_token, action="correct",
                answer=answer,
            )  # fmt: skip
            decide(
                session, reviewer, asked, spec=spec, review=flow.review, now=START, undo_seconds=0
            )
    # I expect the one to be right, the other not.
    with Session(engine) as session:
        found = quality.accuracy(session, kind, START)
    assert [(each.reviewer, each.count, each.right) for each in found] == [
        ("ada", 1, 1),
        ("bob", 1, 0),
    ]


def test_a_known_answer_that_is_none_is_refused_with_its_line() -> None:
    flow = Workflow(name="labels", answer="labels", labels=("toxic", "insult"), model="none")
    line = Line(3, b'{"id": "a", "text": "t", "answer": {"labels": ["rude"]}}')
    with pytest.raises(GoldError, match=r"line 3: labels\[0\]: no such label"):
        gold.read([line], flow)
