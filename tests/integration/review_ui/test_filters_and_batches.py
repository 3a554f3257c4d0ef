"""Does a reviewer get what they filter for, and does a batch accept what was seen, nothing else?"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from shared.events.models import ItemReviewRequested
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import Outbox, ReviewDecision, ReviewTask
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
    task_id,
)

Found = dict[str, Any]


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as here:
        yield here


def films() -> list[ItemReviewRequested]:
    """Six items that differ in one thing each, and a blind twin of the first."""
    return [
        requested("sure", confidence=0.8),
        requested("unsure", confidence=0.55),
        requested("bad", confidence=0.8, label="negative"),
        requested("100%", confidence=0.6, text="100% fun_damental"),
        requested("queued", confidence=0.6, queue="support"),
        requested("blind", confidence=0.8, blind=True),
    ]


def claimed(client: httpx.Client, **wanted: object) -> list[str]:
    """The ids of what a claim gives, given back at once."""
    answer = client.post("/api/v1/tasks/claim", json={"count": 50, **wanted})
    assert answer.status_code == 200, answer.text
    tasks = answer.json()["tasks"]
    leases = [{"task_id": each["id"], "lease_token": each["lease_token"]} for each in tasks]
    client.post("/api/v1/tasks/release", json={"leases": leases})
    return sorted(each["item_id"] for each in tasks)


def test_a_claim_gives_what_the_filter_names_and_no_blind_item(
    served: Served, engine: Engine
) -> None:
    take_in(engine, *films())
    with served.logged_in("ada") as ada:
        # Without a filter I expect everything, the blind item too
        assert len(claimed(ada)) == 6
        # With one, what matches; and a blind item never, whether it would match or not
        assert claimed(ada, label="negative") == ["bad"]
        assert claimed(ada, label="positive") == ["100%", "queued", "sure", "unsure"]
        # however the label is typed
        assert claimed(ada, label=" NEGATIVE ") == ["bad"]
        assert claimed(ada, label="negativ") == []
        assert claimed(ada, min_confidence=0.8) == ["bad", "sure"]
        assert claimed(ada, max_confidence=0.55) == ["unsure"]
        assert claimed(ada, min_confidence=0.6, max_confidence=0.6) == ["100%", "queued"]
        assert claimed(ada, q="FUN_dam") == ["100%"]
        assert claimed(ada, q="100%") == ["100%"]
        assert claimed(ada, q="_") == ["100%"]
        assert claimed(ada, q="blind") == []
        assert claimed(ada, label="positive", q="film", max_confidence=0.7) == ["queued", "unsure"]
        # A queue says nothing about the AI, so there the blind item stays
        assert claimed(ada, queue="default", workflow="sentiment") == [
            "100%", "bad", "blind", "sure", "unsure",
        ]  # fmt: skip
        # What makes no sense is refused, and what is for leads as well
        wrong = ada.post("/api/v1/tasks/claim", json={"min_confidence": 1.5})
        assert wrong.status_code == 422
        refused = ada.post("/api/v1/tasks/claim", json={"only": "flagged"})
        assert refused.status_code == 403


def test_the_order_of_blind_items_says_nothing_about_the_ai(engine: Engine) -> None:
    # Given 40 blind items in two groups: the AI is sure of the one, unsure of the other
    take_in(
        engine,
        *(
            requested(f"i{number}", blind=True, confidence=0.99 if number % 2 else 0.51)
            for number in range(40)
        ),
    )
    # I expect the order of claims to mix them
    with Session(engine) as session:
        order = session.scalars(
            select(ReviewTask.prediction["confidence"].as_float()).order_by(
                ReviewTask.uncertainty.desc()
            )
        ).all()
    assert 4 <= sum(each < 0.6 for each in order[:20]) <= 16


def preview(client: httpx.Client, **wanted: object) -> Found:
    answer = client.post("/api/v1/tasks/accept-batch/preview", json=wanted)
    assert answer.status_code == 200, answer.text
    found: Found = answer.json()
    return found


def accept(client: httpx.Client, tasks: list[str], batch: UUID | None = None) -> Found:
    body = {"batch": str(batch or uuid4()), "tasks": tasks}
    answer = client.post("/api/v1/tasks/accept-batch", json=body)
    assert answer.status_code == 200, answer.text
    found: Found = answer.json()
    return found


def test_a_batch_accepts_what_was_seen_and_can_be_taken_back(
    served: Served, engine: Engine
) -> None:
    # Given seven items of one label, one of them in Bob's hands, and others that are no batch's
    take_in(engine, *films(), *(requested(f"p{number}", confidence=0.9) for number in range(3)))
    with Session(engine) as session, session.begin():
        # One of the panel that is not blind, and one that is blind for another reason.
        for name, on_panel in (("p2", True), ("blind", False)):
            task = session.scalars(select(ReviewTask).where(ReviewTask.item_id == name)).one()
            sampling = {**task.routing["sampling"], "on_panel": on_panel}
            task.routing = {**task.routing, "sampling": sampling}
        session.execute(
            update(ReviewTask).where(ReviewTask.item_id == "sure").values(round="second")
        )
    with served.logged_in("bob") as bob, served.logged_in("lea", "lead") as lea:
        held = bob.post("/api/v1/tasks/claim", json={"q": "unsure"}).json()["tasks"]
        assert [each["item_id"] for each in held] == ["unsure"]
        # A reviewer may not, and nobody without a filter
        assert bob.post("/api/v1/tasks/accept-batch/preview", json={"q": "f"}).status_code == 403
        everything = lea.post("/api/v1/tasks/accept-batch/preview", json={"queue": "default"})
        assert everything.json()["error"]["code"] == "filter_required"
        # If a lead looks, I expect neither the blind one, nor the panel's, nor the one that is
        # checked, nor Bob's
        seen = preview(lea, label="positive")
        assert sorted(each["item_id"] for each in seen["sample"]) == ["100%", "p0", "p1", "queued"]
        assert (len(seen["tasks"]), seen["more"]) == (4, False)
        # and if one comes later or is decided meanwhile, or is not for a batch, that it stays
        take_in(engine, requested("later"))
        (gone,) = bob.post("/api/v1/tasks/claim", json={"q": "p0"}).json()["tasks"]
        sneaked = [str(task_id(each)) for each in ("blind", "p2", "sure", "unsure")]
        batch = uuid4()
        done = accept(lea, [*seen["tasks"], *sneaked], batch)
        assert done["accepted"] == 3
        assert sorted(done["missed"]) == sorted([*sneaked, gone["id"]])
        # and that the same request again does nothing more
        bob.post("/api/v1/tasks/release", json={
            "leases": [{"task_id": gone["id"], "lease_token": gone["lease_token"]}]
        })  # fmt: skip
        assert accept(lea, seen["tasks"][:0] + done_ids(engine, batch), batch)["accepted"] == 3
        rows = made(engine)
        assert [(row.reviewer, row.action, row.batch) for row in rows] == [
            ("lea", "accept", batch)
        ] * 3
        assert published(engine) == 3
        # Nobody else may take it back or add to it
        served.register("lou", "lead")
        with served.visitor() as lou:
            lou.post("/api/v1/login", json={"name": "lou", "password": "a long enough password"})
            url = f"/api/v1/tasks/accept-batch/{batch}/undo"
            assert lou.post(url).status_code == 404
            body = {"batch": str(batch), "tasks": [str(task_id("later"))]}
            assert lou.post("/api/v1/tasks/accept-batch", json=body).status_code == 409
        # If it is taken back in time, I expect nothing to leave and everything to wait again
        undone = lea.post(url).json()
        assert undone == {"undone": 3, "missed": 0, "more": False}
        assert published(engine) == 0
        assert claimed(bob, q="p1") == ["p1"]
        assert lea.post(url).json() == {"undone": 0, "missed": 0, "more": False}


def done_ids(engine: Engine, batch: UUID) -> list[str]:
    return [str(row.task_id) for row in made(engine) if row.batch == batch]


def made(engine: Engine) -> list[ReviewDecision]:
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(select(ReviewDecision).order_by(ReviewDecision.id)))


def published(engine: Engine) -> int:
    """How many events wait to leave."""
    with Session(engine) as session:
        return session.scalar(select(func.count()).select_from(Outbox)) or 0


def test_a_batch_ends_at_its_limit_and_is_undone_in_parts(served: Served, engine: Engine) -> None:
    # Given more items than a batch takes
    take_in(engine, *(requested(f"i{number}") for number in range(510)))
    with served.logged_in("lea", "lead") as lea:
        seen = preview(lea, label="positive")
        # I expect the first 500 to be offered, with a sample, and chunks of 50
        assert (len(seen["tasks"]), len(seen["sample"]), seen["more"]) == (500, 20, True)
        batch = uuid4()
        for start in range(0, 500, 50):
            assert accept(lea, seen["tasks"][start : start + 50], batch)["accepted"] == 50
        body = {"batch": str(batch), "tasks": preview(lea, label="positive")["tasks"]}
        full = lea.post("/api/v1/tasks/accept-batch", json=body)
        assert full.json()["error"]["code"] == "batch_full"
        # and all of them back, in parts
        parts: list[Found] = []
        while not parts or parts[-1]["more"]:
            parts.append(lea.post(f"/api/v1/tasks/accept-batch/{batch}/undo").json())
        assert sum(part["undone"] for part in parts) == 500
        assert published(engine) == 0


def test_leads_see_what_is_disputed_and_why_something_is_flagged(
    served: Served, engine: Engine
) -> None:
    # Given an item that Ada flagged, and one about which two did not agree
    take_in(engine, requested("flag"), requested("quarrel"), requested("other"))
    with (
        served.logged_in("ada") as ada,
        served.logged_in("lea", "lead") as lea,
    ):
        (task,) = ada.post("/api/v1/tasks/claim", json={"q": "flag"}).json()["tasks"]
        ada.post(
            f"/api/v1/tasks/{task['id']}/decision",
            json={
                "key": str(uuid4()),
                "lease_token": task["lease_token"],
                "action": "flag",
                "reason": "None of the labels fits",
                "note": "two films",
            },
        )
        answers = [
            {"key": str(uuid4()), "reviewer": name, "round": each, "label": label,
             "reason": None, "note": None}
            for name, each, label in (("ada", "first", "negative"), ("bob", "second", "positive"))
        ]  # fmt: skip
        with Session(engine) as session, session.begin():
            session.execute(
                update(ReviewTask)
                .where(ReviewTask.item_id == "quarrel")
                .values(round="adjudication", answers=answers)
            )
        # I expect a lead to see both counts, and the reason
        waiting = lea.get("/api/v1/disputes").json()
        assert (waiting["disputed"], waiting["flagged"]) == (1, 1)
        (flag,) = waiting["flags"]
        assert (flag["item_id"], flag["reason"], flag["note"]) == (
            "flag", "None of the labels fits", "two films",
        )  # fmt: skip
        # and to work on either alone, or to take one up
        assert claimed(lea, only="disputed") == ["quarrel"]
        assert claimed(lea, only="flagged") == ["flag"]
        took = lea.post(f"/api/v1/tasks/{flag['task_id']}/reopen").json()
        assert took["answers"][0]["reason"] == "None of the labels fits"
        assert lea.get("/api/v1/disputes").json()["flags"] == []
        # and nothing of this to be for reviewers
        assert ada.get("/api/v1/disputes").status_code == 403
