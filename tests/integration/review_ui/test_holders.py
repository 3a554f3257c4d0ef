"""Can anybody hold everything, and does anything wait for somebody who is not there unsaid?"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text

from hitl.stack.live import figures
from hitl.stack.status import Status, counts
from services.review_ui.outbox.task_gauges import count_tasks
from shared.service.lifecycle import Lifecycle
from shared.workflows.files import ReviewRules, Workflow
from tests.support.api_client import code_of
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

MOST = 60
TWICE = Workflow(
    name="sentiment",
    labels=("negative", "positive"),
    review=ReviewRules(second_review_share=1.0),
)


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    context = make_test_context(engine, clock, Lifecycle(), {"sentiment": TWICE})
    with serving(replace(context, max_held_tasks=MOST), clock) as served:
        yield served


def claim(reviewer: httpx.Client, count: int = 50) -> list[dict[str, object]]:
    answer = reviewer.post("/api/v1/tasks/claim", json={"count": count})
    assert answer.status_code == 200, answer.text
    tasks: list[dict[str, object]] = answer.json()["tasks"]
    return tasks


def decide(reviewer: httpx.Client, task: dict[str, object], label: str) -> httpx.Response:
    body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "correct"}
    path = f"/api/v1/tasks/{task['id']}/decision"
    return reviewer.post(path, json=body | {"label": label})


def test_nobody_can_hold_everything(engine: Engine, served: Served) -> None:
    # Given 120 tasks
    take_in(engine, *(requested(f"i{n}") for n in range(120)))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        # If Ada claims on and on, several times at once, I expect her to get as many as one may
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(lambda _: ada.post("/api/v1/tasks/claim", json={"count": 25}), range(8))
            )
        got = [task for each in answers if each.status_code == 200 for task in each.json()["tasks"]]
        assert len({task["id"] for task in got}) == len(got) == MOST
        # and to be told why there are no more
        refused = ada.post("/api/v1/tasks/claim", json={})
        assert (refused.status_code, code_of(refused)) == (409, "holds_enough")
        # while Bob has the rest to choose from, and she may go on with those she decides.
        assert len(claim(bob)) == 50
        assert decide(ada, got[0], "positive").status_code == 200
        assert len(claim(ada)) == 1
        # A lease that has ended counts no more.
        served.clock.turn(served.context.lease_seconds + 1)
        assert len(claim(ada)) == 50


def test_a_lead_gives_back_what_somebody_holds(engine: Engine, served: Served) -> None:
    # Given Ada with ten tasks in hand
    take_in(engine, *(requested(f"i{n}") for n in range(10)))
    with (
        served.logged_in("ada") as ada,
        served.logged_in("bob") as bob,
        served.logged_in("lea", "lead") as lea,
    ):
        mine = claim(ada, 10)
        # I expect a reviewer to see nothing of it
        assert bob.get("/api/v1/holders").status_code == 403
        release = {"reviewer": "ada"}
        assert bob.post("/api/v1/holders/release", json=release).status_code == 403
        # and a lead who has what
        (holder,) = lea.get("/api/v1/holders").json()["holders"]
        assert (holder["reviewer"], holder["tasks"]) == ("ada", 10)
        # If the lead gives them back, I expect Bob to get them
        assert lea.post("/api/v1/holders/release", json=release).json() == {"released": 10}
        assert lea.get("/api/v1/holders").json() == {"holders": []}
        assert len(claim(bob, 10)) == 10
        # and Ada's answer to be on record and not to count.
        late = decide(ada, mine[0], "negative")
        assert (late.status_code, code_of(late)) == (409, "stale_lease")


def test_what_waits_for_a_second_person_who_is_not_there_is_said(
    engine: Engine, served: Served
) -> None:
    url = engine.url.render_as_string(hide_password=False)

    def counted() -> float | None:
        count_tasks(engine, served.clock())
        return REGISTRY.get_sample_value(
            "hitl_review_tasks_without_reviewer", {"workflow": "sentiment"}
        )

    # Given a lone reviewer who has answered two of three items, one of them blind
    take_in(engine, requested("i0"), requested("i1", blind=True), requested("i2"))
    with served.logged_in("ada", "admin") as ada:
        by_item = {str(task["item_id"]): task for task in claim(ada)}
        for item in ("i0", "i1"):
            assert decide(ada, by_item[item], "negative").status_code == 200
        served.clock.turn(10)
        # I expect that to be said to them, by the status and by a metric
        assert ada.get("/api/v1/stats").json()["me"]["for_others"] == 2
        assert counts(url).nobody_left["waiting"] == 2
        assert counts(url).nobody_left["since"] is not None
        assert counted() == 2
        status = Status(  # type: ignore[typeddict-item]  # what the line needs of it
            items={}, queues={}, problems={}, for_leads={"waiting": 0, "since": None},
            nobody_left=counts(url).nobody_left,
        )  # fmt: skip
        assert figures(status, None)["for a second person, and there is none"].startswith("2,")
        # If I settle one myself, as there is nobody else, I expect my answer to stand
        again = ada.post(f"/api/v1/tasks/{by_item['i0']['id']}/reopen")
        assert again.status_code == 200, again.text
        assert decide(ada, again.json(), "negative").status_code == 200
        assert counts(url).nobody_left["waiting"] == 1
        # If a second person comes, I expect them to be asked, and nothing to be stuck.
        with served.logged_in("bob") as bob:
            assert counts(url).nobody_left == {"waiting": 0, "since": None}
            assert {task["item_id"] for task in claim(bob)} == {"i1"}
    # A program that may review counts, a person who may not review this workflow does not.
    with engine.begin() as connection:
        connection.execute(text("UPDATE reviewer SET workflows = '[\"other\"]' WHERE name = 'bob'"))
    assert counts(url).nobody_left["waiting"] == 1


def test_a_reviewer_is_not_told_which_blind_answers_wait(engine: Engine, served: Served) -> None:
    # Given a blind and an ordinary item that one reviewer has answered
    take_in(engine, requested("i0"), requested("i1", blind=True))
    with served.logged_in("ada") as ada:
        for task in claim(ada):
            decide(ada, task, "negative")
        served.clock.turn(10)
        # I expect the ordinary one alone to be counted: the other would tell what the AI said
        assert ada.get("/api/v1/stats").json()["me"]["for_others"] == 1
