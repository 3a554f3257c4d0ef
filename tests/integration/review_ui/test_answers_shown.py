"""Does the API show of each kind of answer what its reader may see, and count it as what it is?"""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from services.review_ui.reports import quality
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ReviewDecision
from shared.workflows.files import ReviewRules
from tests.support.answer_requests import asks, workflow_of, workflows_of_all_kinds
from tests.support.review_service import (
    START,
    Served,
    TurnedClock,
    make_test_context,
    serving,
    take_in,
)
from tests.support.sample_answers import SAMPLES, Sample

MARK = 0.62384  # of the prediction, and of nothing else


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    any_form = workflow_of("form", schema={"type": "object"})
    flows = {**workflows_of_all_kinds(), "form": any_form}
    context = make_test_context(engine, clock, Lifecycle(), flows)
    with serving(context, clock) as service:
        yield service


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_a_blind_task_shows_nothing_of_what_was_predicted(
    sample: Sample, engine: Engine, served: Served
) -> None:
    kind = sample.kind
    item = sample.item("blind").model_dump(include={*sample.brings})
    # Given two tasks that differ in nothing but in what was predicted, or that nothing was
    one, other = sample.read(sample.predicted).value, sample.read(sample.near[0]).value
    shown = []
    with served.logged_in("ada") as ada:
        for number, given in enumerate((one, other)):
            take_in(engine, asks(kind, f"i{number}", given, blind=True, confidence=MARK, **item))
            # If somebody claims one
            claimed = ada.post("/api/v1/tasks/claim", json={"workflow": kind, "count": 1})
            (task,) = claimed.raise_for_status().json()["tasks"]
            looked_up = ada.get(f"/api/v1/tasks/{task['id']}")
            items = ada.get("/api/v1/items", params={"workflow": kind})
            for answer in (claimed, looked_up, items):
                # I expect neither the confidence nor whose prediction it was,
                assert str(MARK) not in answer.text
                assert "theirs@1" not in answer.text
            assert (task["blind"], task["prediction"], task["suggestion"]) == (True, None, None)
            named = {"id", "item_id", "lease_token", "lease_expires_at"}
            shown.append({key: value for key, value in task.items() if key not in named})
            # nor the answer by way of accepting it.
            key = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "accept"}
            refused = ada.post(f"/api/v1/tasks/{task['id']}/decision", json=key)
            assert refused.json()["error"]["code"] == "blind"
            lease = {"task_id": task["id"], "lease_token": task["lease_token"]}
            ada.post("/api/v1/tasks/release", json={"leases": [lease]}).raise_for_status()
            skip = ada.post("/api/v1/tasks/claim", json={"workflow": kind, "count": 1}).json()
            (again,) = skip["tasks"]
            key = {"key": str(uuid4()), "lease_token": again["lease_token"], "action": "skip"}
            ada.post(f"/api/v1/tasks/{again['id']}/decision", json=key).raise_for_status()
    assert shown[0] == shown[1]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_an_answer_where_nothing_was_predicted_is_no_disagreement_with_the_ai(
    sample: Sample, engine: Engine, served: Served
) -> None:
    kind = sample.kind
    item = sample.item("open").model_dump(include={*sample.brings})
    take_in(engine, asks(kind, "open", None, **item))
    with served.logged_in("lea", "lead") as lea:
        (task,) = lea.post("/api/v1/tasks/claim", json={"workflow": kind}).json()["tasks"]
        # If somebody answers / I expect it to be neither accepted nor corrected,
        said = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "correct"}
        path = f"/api/v1/tasks/{task['id']}/decision"
        given = lea.post(path, json={**said, "answer": sample.predicted}).raise_for_status().json()
        assert (given["action"], given["effective"]) == ("label", True)
        # to count as decided, and no figure to call it a label of the AI's that was changed;
        me = lea.get("/api/v1/stats").json()["me"]
        assert (me["decided"], me["agreement"]) == (1, None)
        with Session(engine) as session:
            found = quality.with_ai(session, kind, START)
        assert (found.shown_count, found.blind_count) == (0, 0)
        # and to be undone as any other that is not blind, long after.
        served.clock.turn(3_600)
        undone = lea.post(f"/api/v1/decisions/{said['key']}/undo")
        assert undone.status_code == 200, undone.text


@pytest.mark.parametrize("differ", [False, True], ids=["alike", "unlike"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_two_people_agree_by_the_very_answer_and_a_lead_sees_both_whole(
    sample: Sample, differ: bool, engine: Engine
) -> None:
    # Given a workflow whose items two people answer
    kind, clock = sample.kind, TurnedClock()
    schema = {"schema": {"type": "object"}} if kind == "form" else {}
    flow = workflow_of(kind, review=ReviewRules(second_review_share=1.0), **schema)
    item = sample.item("i").model_dump(include={*sample.brings})
    first, second = sample.predicted, sample.near[0] if differ else sample.predicted
    context = make_test_context(engine, clock, Lifecycle(), {kind: flow})
    with serving(context, clock) as served:
        take_in(engine, asks(kind, "i", None, **item))
        for name, answer in (("ada", first), ("bob", second)):
            with served.logged_in(name) as person:
                (task,) = person.post("/api/v1/tasks/claim", json={}).json()["tasks"]
                assert task["answers"] == []  # of the other
                given = {"key": str(uuid4()), "lease_token": task["lease_token"]}
                person.post(
                    f"/api/v1/tasks/{task['id']}/decision",
                    json={**given, "action": "correct", "answer": answer},
                ).raise_for_status()
            clock.turn(60)
        # I expect a lead to be asked only where the answers differ, if by a hair,
        with served.logged_in("lea", "lead") as lea:
            wanted = {"only": "disputed"}
            disputed = lea.post("/api/v1/tasks/claim", json=wanted).json()["tasks"]
            assert len(disputed) == differ
            for task in disputed:
                # and to see what both have answered.
                told = [each["answer"] for each in task["answers"]]
                assert told == [sample.read(first).value, sample.read(second).value]


def test_a_number_that_a_page_would_round_is_refused_and_nothing_is_decided(
    engine: Engine, served: Served
) -> None:
    # Given a form in somebody's hand / If a number is given that not every reader reads alike
    take_in(engine, asks("form", "i", {"form": {"total": 1}}))
    with served.logged_in("ada") as ada:
        (task,) = ada.post("/api/v1/tasks/claim", json={}).raise_for_status().json()["tasks"]
        for number, status in ((2**53 + 1, 422), (2**53 - 1, 200)):
            body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "correct"}
            body |= {"answer": {"form": {"total": number}}}
            answer = ada.post(f"/api/v1/tasks/{task['id']}/decision", json=body)
            # I expect it to be refused by its path, and the largest safe one to be kept exactly.
            assert answer.status_code == status, answer.text
            if status == 422:
                assert answer.json()["error"]["code"] == "bad_answer"
                assert "form.total: is beyond" in answer.text
    with Session(engine) as session:
        (kept,) = session.scalars(select(ReviewDecision)).all()
    assert kept.answer == {"form": {"total": 2**53 - 1}}
