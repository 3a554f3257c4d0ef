"""Does a reviewer, or a program, limited to a workflow see and change nothing of another one?"""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine

from services.review_ui.auth.accounts import AccountError
from services.review_ui.auth.tokens import SCOPES, TokenError, create
from shared.service.lifecycle import Lifecycle
from shared.workflows.feed import Workflows
from shared.workflows.files import Workflow
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

SENTIMENT = Workflow(name="sentiment", labels=("negative", "positive"))
TWEETS = Workflow(name="tweets", labels=("negative", "neutral", "positive"))


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    flows = Workflows()
    flows.add(SENTIMENT)
    context = make_test_context(engine, clock, Lifecycle(), flows)
    with serving(context, clock) as served:
        flows.add(TWEETS)  # while it serves
        yield served


def limit(served: Served, name: str, *workflows: str) -> None:
    with served.context.transaction() as session:
        served.context.accounts.limit(session, name, workflows)


def claimed(client: httpx.Client, **wanted: str) -> list[dict[str, str]]:
    answer = client.post("/api/v1/tasks/claim", json={"count": 9, **wanted})
    tasks: list[dict[str, str]] = answer.raise_for_status().json()["tasks"]
    return tasks


def test_a_limited_reviewer_has_one_workflow_and_all_others_do_not_exist(
    engine: Engine, served: Served
) -> None:
    # Given a task in each of two workflows, the second of which came while the page was served
    take_in(engine, requested("film"), requested("tweet", workflow="tweets"))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        assert len(ada.get("/api/v1/me").json()["workflows"]) == 2
        # If Ada is limited to tweets, I expect that of her next calls already
        limit(served, "ada", "tweets")
        [flow] = ada.get("/api/v1/me").json()["workflows"]
        assert (flow["name"], flow["labels"]) == ("tweets", ["negative", "neutral", "positive"])
        [queue] = ada.get("/api/v1/stats").json()["queues"]
        assert queue["workflow"] == "tweets"
        [mine] = claimed(ada)
        assert mine["item_id"] == "tweet"
        [film] = claimed(bob, workflow="sentiment")
        decision = {
            "key": str(uuid4()),
            "lease_token": film["lease_token"],
            "action": "correct",
            "label": "negative",
        }
        for answer in (
            ada.get("/api/v1/tasks", params={"workflow": "sentiment"}),
            ada.get("/api/v1/tasks/next", params={"workflow": "sentiment"}),
            ada.post("/api/v1/tasks/claim", json={"workflow": "sentiment"}),
            ada.get(f"/api/v1/tasks/{film['id']}"),
            ada.post(f"/api/v1/tasks/{film['id']}/decision", json=decision),
            ada.get("/api/v1/decisions", params={"workflow": "sentiment"}),
            ada.get("/api/v1/items", params={"workflow": "sentiment"}),
            ada.get("/api/v1/items/sentiment/film"),
        ):
            assert answer.status_code == 404, answer.text
        # and Bob, who is free, to decide as ever.
        path = f"/api/v1/tasks/{film['id']}/decision"
        assert bob.post(path, json=decision).status_code == 200
        # If the limit is taken away, I expect her to see it all again.
        limit(served, "ada")
        assert ada.get(f"/api/v1/tasks/{film['id']}").status_code == 200


def test_what_was_claimed_before_the_limit_is_out_of_reach(engine: Engine, served: Served) -> None:
    take_in(engine, requested("film"))
    with served.logged_in("ada") as ada:
        [film] = claimed(ada)
        limit(served, "ada", "tweets")
        answer = ada.post(
            f"/api/v1/tasks/{film['id']}/decision",
            json={"key": str(uuid4()), "lease_token": film["lease_token"], "action": "accept"},
        )
        assert answer.status_code == 404
        assert ada.get(f"/api/v1/tasks/{film['id']}/highlights").status_code == 404


def test_only_reviewers_are_limited(served: Served) -> None:
    served.register("lea", "lead")
    with pytest.raises(AccountError, match="a lead sees every workflow"):
        limit(served, "lea", "tweets")


def token(served: Served, *workflows: str, scopes: tuple[str, ...]) -> str:
    name, now = uuid4().hex, served.context.clock()
    with served.context.transaction() as session:
        return create(
            session, name, scopes, now=now, lifetime=timedelta(days=1), workflows=workflows
        )


def test_for_a_limited_token_all_other_workflows_do_not_exist(
    engine: Engine, served: Served
) -> None:
    # Given a task in each of two workflows, and a program that may do all that can be limited,
    take_in(engine, requested("film"), requested("tweet", workflow="tweets"))
    with served.logged_in("bob") as bob:
        [film] = claimed(bob, workflow="sentiment")
    scopes = tuple(scope for scope in SCOPES if scope != "webhooks")
    secret = token(served, "tweets", scopes=scopes)
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers, timeout=10) as robot:
        # I expect it to be shown its own workflow alone, wherever nothing is asked for by name,
        assert [flow["name"] for flow in robot.get("/me").json()["workflows"]] == ["tweets"]
        assert {queue["workflow"] for queue in robot.get("/stats").json()["queues"]} == {"tweets"}
        for path in ("/tasks", "/items", "/disputes", "/decisions"):
            assert '"film"' not in robot.get(path).raise_for_status().text
        assert '"tweet"' in robot.get("/tasks").text
        for what in ("items", "decisions", "corrections"):
            assert '"film"' not in robot.get(f"/export/{what}").raise_for_status().text
        # and a 404 for the other one by its name, whatever it asks
        body = {"workflow": "sentiment", "items": [{"text": "A quiet film."}]}
        decision = {"key": str(uuid4()), "lease_token": film["lease_token"], "action": "accept"}
        other = {"workflow": "sentiment"}
        for answer in (
            robot.post("/items", json=body),
            robot.get("/items/sentiment/film"),
            robot.get(f"/tasks/{film['id']}"),
            robot.get(f"/tasks/{film['id']}/highlights"),
            robot.post(f"/tasks/{film['id']}/decision", json=decision),
            robot.post("/tasks/claim", json=other),
            *(
                robot.get(path, params=other)
                for path in ("/tasks", "/tasks/next", "/items", "/disputes", "/decisions")
            ),
            *(robot.get(path, params=other) for path in ("/quality", "/export/items")),
        ):
            assert answer.status_code == 404, (answer.request.url, answer.text)
        # while its own is open.
        [mine] = robot.post("/tasks/claim", json={"workflow": "tweets"}).json()["tasks"]
        assert mine["item_id"] == "tweet"


def test_webhooks_are_about_every_workflow(served: Served) -> None:
    with pytest.raises(TokenError, match="cannot be limited"):
        token(served, "tweets", scopes=("webhooks",))
