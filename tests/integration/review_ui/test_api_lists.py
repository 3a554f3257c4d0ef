"""Do the lists show every row once, whatever is added meanwhile, and nothing that is blind?"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.reports import lists
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ItemRow
from tests.support.api_client import code_of, program
from tests.support.review_service import (
    START,
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


def add_items(engine: Engine, *rows: dict[str, Any]) -> None:
    """Items as the logger keeps them."""
    with Session(engine) as session, session.begin():
        for row in rows:
            given = {
                "workflow": "sentiment",
                "status": "AI_ACCEPTED",
                "progress": 20,
                "status_at": START,
                "updated_at": START,
                "text": "a film",
                "ai_label": "positive",
                "final_label": "positive",
                "confidence": 0.9,
                "received_at": START,
            }
            session.add(ItemRow(**given | row))


def pages(
    client: httpx.Client, path: str, key: str, limit: int, **filters: object
) -> Iterator[list[dict[str, Any]]]:
    """Page after page, until there is none."""
    cursor = None
    while True:
        query = {"limit": limit, **filters, **({"cursor": cursor} if cursor else {})}
        answer = client.get(path, params={name: str(value) for name, value in query.items()})
        assert answer.status_code == 200, answer.text
        yield answer.json()[key]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return


def ids(client: httpx.Client, **filters: object) -> list[str]:
    return [row["id"] for page in pages(client, "/items", "items", 100, **filters) for row in page]


def test_a_list_of_items_is_whole_while_items_arrive(engine: Engine, served: Served) -> None:
    # Given items of which several came at the same moment, and one whose time nobody knows
    times: list[datetime | None] = [START + timedelta(seconds=n // 3) for n in range(20)]
    for number, at in enumerate([*times, None]):
        add_items(engine, {"id": f"i{number:02}", "received_at": at})
    with program(served, "items:read") as reader:
        # If newer ones arrive while I read page after page
        seen: list[dict[str, Any]] = []
        for number, page in enumerate(pages(reader, "/items", "items", 3)):
            seen += page
            late = START + timedelta(hours=1, seconds=number)
            add_items(engine, {"id": f"late{number}", "received_at": late})
    # I expect each that was there once, the newest first, the one without a time last
    found = [row["id"] for row in seen]
    assert sorted(found) == [f"i{number:02}" for number in range(21)]
    assert found[-1] == "i20"
    known = [row["received_at"] for row in seen[:-1]]
    assert all(one >= other for one, other in pairwise(known))


def test_items_are_found_by_what_is_known_of_them(engine: Engine, served: Served) -> None:
    add_items(
        engine,
        {"id": "plain", "text": "Quiet and good", "confidence": 0.95},
        {"id": "50%_off", "text": "a_b 100% sure", "confidence": 0.6, "final_label": "negative"},
        {"id": "failed", "status": "FAILED", "ai_label": None, "final_label": None,
         "confidence": None, "text": None},
        {"id": "later", "received_at": START + timedelta(days=1), "workflow": "sentiment"},
        {"id": "elsewhere", "workflow": "not served here"},
    )  # fmt: skip
    with program(served, "items:read") as reader:
        assert set(ids(reader)) == {"plain", "50%_off", "failed", "later"}
        assert ids(reader, status="FAILED") == ["failed"]
        assert ids(reader, label="negative") == ids(reader, label=" Negative") == ["50%_off"]
        assert ids(reader, label="negativ") == []
        assert ids(reader, min_confidence=0.95) == ["plain"]
        assert ids(reader, max_confidence=0.6) == ["50%_off"]
        assert ids(reader, q="QUIET") == ["plain"]
        # % and _ stand for themselves
        assert ids(reader, q="%_") == ["50%_off"]
        assert ids(reader, q="0% s") == ["50%_off"]
        assert ids(reader, since=(START + timedelta(hours=1)).isoformat()) == ["later"]
        assert "later" not in ids(reader, until=(START + timedelta(days=1)).isoformat())
        assert code_of(reader.get("/items?workflow=elsewhere")) == "no_such_workflow"


def test_what_the_ai_thinks_of_a_blind_item_finds_it_not(engine: Engine, served: Served) -> None:
    # Given a blind item that waits, and one that is scored and may become blind
    take_in(engine, requested("blind", blind=True))
    undecided = {"final_label": None, "confidence": 0.7}
    add_items(
        engine,
        {"id": "blind", "status": "HUMAN_REVIEW", **undecided},
        {"id": "new", "status": "SCORED", **undecided},
    )
    with program(served, "items:read") as reader:
        # I expect to see both, and nothing of what the AI thinks
        for page in pages(reader, "/items", "items", 10):
            for row in page:
                assert (row["ai_label"], row["confidence"]) == (None, None)
                assert (row["hidden"], row["status"]) == (True, "HUMAN_REVIEW")
        # nor to find them by it
        assert ids(reader, label="positive") == ids(reader, min_confidence=0.1) == []
        assert ids(reader, max_confidence=1) == ids(reader, status="SCORED") == []
        assert set(ids(reader, status="HUMAN_REVIEW")) == {"blind", "new"}
        # also once it is decided: only leads may know then whether the AI was right.
        with served.logged_in("ada") as ada:
            task = ada.post("/api/v1/tasks/claim", json={}).json()["tasks"][0]
            body = {"key": str(uuid4()), "lease_token": task["lease_token"]}
            body |= {"action": "correct", "label": "positive"}
            assert ada.post(f"/api/v1/tasks/{task['id']}/decision", json=body).status_code == 200
        with Session(engine) as session, session.begin():
            item = session.get_one(ItemRow, ("sentiment", "blind"))
            item.status, item.final_label = "HUMAN_ACCEPTED", "positive"
        assert ids(reader, label="positive") == ids(reader, status="HUMAN_ACCEPTED") == []
    with program(served, "items:read", "export", name="lead") as lead:
        assert ids(lead, status="HUMAN_ACCEPTED", label="positive") == ["blind"]


def test_a_list_of_tasks_is_whole_while_tasks_arrive(engine: Engine, served: Served) -> None:
    # Given tasks of every urgency, some with a due time
    for number in range(12):
        due = START + timedelta(hours=number % 3) if number % 2 else None
        take_in(
            engine,
            requested(f"i{number:02}", priority=number % 4, due_at=due,
                      confidence=0.5 + number % 5 / 10),
        )  # fmt: skip
    with program(served, "tasks:read") as reader, served.logged_in("ada") as ada:
        # If I read them in pages while others arrive
        found: list[str] = []
        for number, page in enumerate(pages(reader, "/tasks", "tasks", 5)):
            found += [task["item_id"] for task in page]
            take_in(engine, requested(f"first{number}", priority=9, due_at=START))
        # I expect each once, in the order in which they will be handed out
        assert len(found) == len(set(found)) == 12
        claimed = ada.post("/api/v1/tasks/claim", json={"count": 50}).json()["tasks"]
        order = [task["item_id"] for task in claimed if task["item_id"][0] == "i"]
        assert found == order
        # What she holds no longer waits; what is held is for leads to see.
        assert reader.get("/tasks").json()["tasks"] == []
        assert code_of(reader.get("/tasks?state=leased")) == "role_required"
    with served.logged_in("lea", "lead") as lead:
        held = lead.get("/api/v1/tasks?state=leased&limit=200").json()["tasks"]
        assert len(held) == len(claimed)


def test_a_list_of_decisions_is_whole_while_people_decide(engine: Engine, served: Served) -> None:
    take_in(engine, *[requested(f"i{number}") for number in range(9)])

    def decide(client: httpx.Client, **given: object) -> None:
        task = client.post("/api/v1/tasks/claim", json={}).json()["tasks"][0]
        body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "accept"}
        answer = client.post(f"/api/v1/tasks/{task['id']}/decision", json=body | given)
        assert answer.status_code == 200, answer.text

    with served.logged_in("ada") as ada, served.logged_in("lea", "lead") as lead:
        # Given seven decisions of Ada, of which one is a correction
        for _ in range(6):
            decide(ada)
        served.clock.turn(60)
        decide(ada, action="correct", label="negative")
        for each in (ada, lead):
            each.base_url = httpx.URL(f"{served.url}/api/v1")
        # If the lead reads everybody's while she goes on
        found: list[str] = []
        for page in pages(lead, "/decisions", "decisions", 3, of="everybody"):
            found += [row["key"] for row in page]
            if len(found) <= 6:
                ada.base_url = httpx.URL(served.url)
                decide(ada)
                ada.base_url = httpx.URL(f"{served.url}/api/v1")
        # I expect each of the seven once
        assert len(found) == len(set(found)) == 7
        # and the filters to hold
        assert len(ada.get("/decisions").json()["decisions"]) == 9
        assert lead.get("/decisions").json()["decisions"] == []
        (correction,) = ada.get("/decisions?action=correct").json()["decisions"]
        assert (correction["label"], correction["reviewer"]) == ("negative", "ada")
        since = (START + timedelta(seconds=30)).isoformat()
        assert len(ada.get("/decisions", params={"since": since}).json()["decisions"]) == 3
        assert len(ada.get("/decisions", params={"until": since}).json()["decisions"]) == 6
        assert code_of(ada.get("/decisions?of=everybody")) == "role_required"


@pytest.mark.parametrize("path", ["/items", "/tasks", "/decisions"])
@pytest.mark.parametrize(
    "cursor", ["x", "bm9uc2Vuc2U", "W10", "WyIiLCIiXQ", "é", "WyJcdTAwMDAiLCJcdTAwMDAiLCJhIl0"]
)
def test_a_made_up_cursor_gets_a_clear_answer(served: Served, path: str, cursor: str) -> None:
    with program(served, "items:read", "tasks:read") as reader:
        answer = reader.get(path, params={"cursor": cursor})
        assert (answer.status_code, code_of(answer)) == (422, "bad_cursor")


def test_a_search_that_takes_too_long_is_given_up(
    engine: Engine, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more text than can be read in the time allowed
    monkeypatch.setattr(lists, "SEARCH_SECONDS", 0.001)
    add_items(engine, *[{"id": f"i{n}", "text": "word " * 5_000} for n in range(300)])
    with program(served, "items:read") as reader:
        answer = reader.get("/items?q=nowhere")
        assert (answer.status_code, code_of(answer)) == (422, "too_much_to_search")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/items?statsu=FAILED", "query.statsu: no such parameter; did you mean 'status'?"),
        ("/items?status=FAILED&status=AI_ACCEPTED", "query.status: given 2 times"),
        ("/items?since=2024", "query.since"),
        ("/items?until=20240501", "query.until"),
        ("/export/corrections?workfow=sentiment", "query.workfow: no such parameter"),
        ("/decisions?of=me&reviewer=anna", "query.reviewer: no such parameter"),
        ("/stats?days=3", "query.days: no such parameter"),
    ],
)
def test_a_question_that_is_not_understood_whole_is_not_answered(
    served: Served, path: str, said: str
) -> None:
    # If a filter is misspelt, given twice, or a year is taken for seconds, I expect no list that
    # looks like an answer
    with program(served, "items:read", "export", "tasks:read", "stats:read") as client:
        answer = client.get(path)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request"), answer.text
    assert said in answer.json()["error"]["message"]
