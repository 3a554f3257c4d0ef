"""Is an answer of several labels found by each, and counted by each? What can a list accept?"""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account
from services.review_ui.reports import dashboard, history
from services.review_ui.reports.dashboard import Work
from services.review_ui.reports.history import Search
from shared.answers.base import Kind
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ItemRow
from tests.support.answer_requests import asks, workflows_of_all_kinds
from tests.support.review_service import (
    START,
    Served,
    TurnedClock,
    make_test_context,
    serving,
    take_in,
)

LEAD = Account("lea", "lead", session_epoch=0)
TEXT = "Peter of ACME owes 120 euros."
PETER = {"start": 0, "end": 5, "label": "PER"}
ACME = {"start": 9, "end": 13, "label": "ORG"}


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    context = make_test_context(engine, clock, Lifecycle(), workflows_of_all_kinds())
    with serving(context, clock) as service:
        yield service


def answer(
    person: httpx.Client, engine: Engine, kind: Kind, item_id: str, said: Any, given: Any = None
) -> None:
    """An item of which `said` was predicted, and for which a person gives `given`, or accepts."""
    take_in(engine, asks(kind, item_id, said, text=TEXT))
    (task,) = person.post("/api/v1/tasks/claim", json={"workflow": kind}).json()["tasks"]
    decision = {"key": str(uuid4()), "lease_token": task["lease_token"]}
    decision |= {"action": "correct", "answer": given} if given else {"action": "accept"}
    path = f"/api/v1/tasks/{task['id']}/decision"
    person.post(path, json=decision).raise_for_status()


def labels(*names: str) -> dict[str, Any]:
    return {"labels": list(names)}


def spans(*found: dict[str, Any]) -> dict[str, Any]:
    return {"spans": list(found)}


def test_what_waits_is_found_by_any_label_in_the_predicted_answer(
    served: Served, engine: Engine
) -> None:
    # Given items with several labels, spans of several, and one that is asked blind
    take_in(
        engine,
        asks("labels", "both", labels("toxic", "insult")),
        asks("labels", "one", labels("insult")),
        asks("labels", "none", labels()),
        asks("labels", "blind", labels("toxic"), blind=True),
        asks("spans", "names", spans(PETER, ACME)),
        asks("form", "form", {"form": {"supplier": "toxic", "total": 1, "currency": "EUR"}}),
    )
    with served.logged_in("ada") as ada:

        def found(label: str, workflow: str | None = None) -> list[str]:
            wanted = {"label": label, "workflow": workflow, "count": 10}
            tasks = ada.post("/api/v1/tasks/claim", json=wanted).raise_for_status().json()["tasks"]
            leases = [{"task_id": t["id"], "lease_token": t["lease_token"]} for t in tasks]
            ada.post("/api/v1/tasks/release", json={"leases": leases}).raise_for_status()
            return sorted(task["item_id"] for task in tasks)

        # I expect each by each of its labels, in whatever spelling, and nothing of the blind one
        assert found("toxic", "labels") == ["both"]
        assert found("Insult", "labels") == ["both", "one"]
        assert found("toxic") == ["both"]
        assert found("ORG", "spans") == ["names"]
        assert found("MISC", "spans") == []


def test_past_decisions_are_offered_and_found_by_any_label_in_them(
    served: Served, engine: Engine
) -> None:
    total = {"supplier": "ACME", "total": 120, "currency": "EUR"}
    with served.logged_in("ada") as ada:
        # Given decisions of several kinds
        answer(ada, engine, "labels", "both", labels("toxic", "insult"))
        answer(ada, engine, "labels", "none", labels("toxic"), labels())
        answer(ada, engine, "spans", "names", spans(PETER, ACME))
        answer(ada, engine, "form", "form", {"form": total})
    with Session(engine) as session:
        # I expect the labels in them to be offered, once each, and no short line of a form
        offered, people = history.labels_and_reviewers(session, LEAD)
        assert offered == ["(none)", "ORG", "PER", "insult", "toxic"]
        assert people == ["ada"]
        for label, items in (("insult", ["both"]), ("(none)", ["none"]), ("PER", ["names"])):
            past = history.find(session, LEAD, Search(label=label))
            assert [each.item_id for each in past] == items


def test_items_are_listed_by_any_label_in_the_final_answer_else_in_the_predicted_one(
    served: Served, engine: Engine
) -> None:
    # Given items of several labels, one of them decided otherwise than predicted
    predicted = labels("toxic", "insult")
    with Session(engine) as session, session.begin():
        for item_id, final in (
            ("as-it-was", {}),
            ("decided", {"final_label": "threat", "answer": labels("threat")}),
        ):
            item = {"text": TEXT, "status": "AI_ACCEPTED", "progress": 20, "kind": "labels"}
            times = dict.fromkeys(("received_at", "updated_at", "status_at"), START)
            said = {"ai_label": "toxic, insult", "ai_answer": predicted}
            session.add(ItemRow(workflow="labels", id=item_id, **item, **times, **said, **final))
    with served.logged_in("lea", "lead") as lea:

        def found(label: str) -> list[str]:
            asked = lea.get("/api/v1/items", params={"workflow": "labels", "label": label})
            return [item["id"] for item in asked.raise_for_status().json()["items"]]

        # I expect what counts to be looked at
        assert (found("insult"), found("threat"), found("ins")) == (["as-it-was"], ["decided"], [])


def test_each_label_is_counted_and_kept_where_the_machine_said_the_same_of_it(
    served: Served, engine: Engine
) -> None:
    moved = {**PETER, "end": 3}
    with served.logged_in("ada") as ada:
        # Given answers of which some labels are as predicted
        answer(ada, engine, "labels", "kept", labels("toxic", "insult"))
        answer(ada, engine, "labels", "half", labels("toxic"), labels("toxic", "insult"))
        answer(ada, engine, "spans", "moved", spans(moved, ACME), spans(PETER, ACME))
    with Session(engine) as session:
        by_label = {each.name: each for each in dashboard.read(session, since=START).labels}

    def told(work: Work) -> tuple[int, int]:
        return work.decided, work.kept

    # I expect each label's row to say how often people gave it, and how often it was kept
    assert {name: told(work) for name, work in by_label.items()} == {
        "toxic": (2, 2),
        "insult": (2, 1),
        "PER": (1, 0),
        "ORG": (1, 1),
    }


def test_a_list_is_accepted_only_where_its_lines_show_the_answers_whole(
    served: Served, engine: Engine
) -> None:
    # Given a set of labels, which a line shows, and spans, which none does
    take_in(engine, asks("labels", "set", labels("toxic")), asks("spans", "names", spans(PETER)))
    with served.logged_in("lea", "lead") as lea:

        def preview(**wanted: Any) -> dict[str, Any]:
            asked = lea.post("/api/v1/tasks/accept-batch/preview", json={"q": "ACME", **wanted})
            found: dict[str, Any] = asked.raise_for_status().json()
            return found

        # I expect the workflows that are left out to be named, and only the set to be offered
        anything = preview()
        assert [each["item_id"] for each in anything["sample"]] == ["set"]
        one_by_one = ["spans", "form", "text", "preference", "approval"]
        assert sorted(anything["one_by_one"]) == sorted(one_by_one)
        assert preview(workflow="labels")["one_by_one"] == []
        alone = preview(workflow="spans")
        assert (alone["tasks"], alone["one_by_one"]) == ([], ["spans"])
        # and a list that names it by its id nevertheless to leave it as it is.
        with Session(engine) as session:
            (task,) = lea.get("/api/v1/tasks", params={"workflow": "spans"}).json()["tasks"]
            batch = {"batch": str(uuid4()), "tasks": [task["id"]]}
            result = lea.post("/api/v1/tasks/accept-batch", json=batch).raise_for_status().json()
            assert result == {"accepted": 0, "missed": [task["id"]]}
            assert history.find(session, LEAD, Search()) == []
