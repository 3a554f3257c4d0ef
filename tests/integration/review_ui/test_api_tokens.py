"""Does a token open what its scopes say, for as long as it should, and nothing else?"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.api.access import ACCESS, Need
from services.review_ui.auth import tokens
from services.review_ui.auth.tokens import SCOPES, everything
from shared.release import package_version
from shared.service.lifecycle import Lifecycle
from shared.storage.database import connect
from shared.storage.tables import ApiToken
from tests.support.api_client import code_of, make_token, program
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

ROOT = Path(__file__).resolve().parents[3]
CLOSED = {route: need for route, need in ACCESS.items() if need is not None}


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = connect(module_database_url, pool_size=10)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


def fresh() -> str:
    """A name that no other test uses: they share one database."""
    return f"t-{uuid4().hex[:12]}"


def call(client: httpx.Client, route: tuple[str, str]) -> httpx.Response:
    """The route with something in place of its parameters."""
    method, path = route
    for name in ("task_id", "key"):
        path = path.replace(f"{{{name}}}", str(uuid4()))
    path = path.replace("{workflow}", "sentiment").replace("{item_id:path}", "nothing")
    path = path.replace("{what}", "decisions")
    return client.request(method, path, json={} if method == "POST" else None)


def test_the_table_names_every_route_and_no_other(served: Served) -> None:
    with served.visitor() as visitor:
        document = visitor.get("/api/v1/openapi.json").json()
    assert document["info"]["version"] == package_version()
    offered = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert offered == {(method, path.replace(":path", "")) for method, path in ACCESS}


@pytest.mark.parametrize(("route", "need"), CLOSED.items(), ids=lambda given: str(given))
def test_each_route_opens_to_its_scope_alone(
    served: Served, route: tuple[str, str], need: Need
) -> None:
    # Given a token with every scope but the one that the route takes
    others = [scope for scope in SCOPES if scope != need.scope]
    with program(served, *others, name=fresh()) as stranger:
        # I expect a refusal that names the scope,
        refused = call(stranger, route)
        assert refused.status_code == 403, refused.text
        assert code_of(refused) == ("scope_required" if need.scope else "session_only")
        if need.scope:
            assert f'scope="{need.scope}"' in refused.headers["www-authenticate"]
    # and with the one alone no such thing.
    if need.scope is not None:
        with program(served, need.scope, name=fresh()) as friend:
            assert call(friend, route).status_code not in (401, 403)


@pytest.mark.parametrize(
    ("route", "need"),
    [(route, need) for route, need in CLOSED.items() if need.role != "reviewer"],
    ids=lambda given: str(given),
)
def test_each_route_for_leads_or_admins_refuses_a_reviewer(
    served: Served, route: tuple[str, str], need: Need
) -> None:
    with served.logged_in(fresh()) as reviewer:
        reviewer.base_url = httpx.URL(f"{served.url}/api/v1")
        refused = call(reviewer, route)
        assert (refused.status_code, code_of(refused)) == (403, "role_required")
        assert need.role in refused.json()["error"]["message"]


@pytest.mark.parametrize("route", CLOSED, ids=str)
@pytest.mark.parametrize(
    "header", [None, "Bearer hitl_no-such-token", "Bearer", "Bearer \xe9", "Basic YTpi"]
)
def test_no_route_opens_without_a_token_that_is_good(
    served: Served, route: tuple[str, str], header: str | None
) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=headers) as stranger:
        refused = call(stranger, route)
    assert refused.status_code == 401
    assert code_of(refused) == ("login_required" if header is None else "invalid_token")
    assert refused.headers["www-authenticate"].startswith("Bearer")


def test_a_token_ends_when_it_expires_or_is_revoked(served: Served) -> None:
    # Given one token for an hour and one without an end
    names = fresh(), fresh()
    hour = make_token(served, "stats:read", name=names[0], lifetime=timedelta(hours=1))
    endless = make_token(served, "stats:read", name=names[1])

    def opens(token: str) -> bool:
        with served.visitor() as visitor:
            bearer = {"Authorization": f"Bearer {token}"}
            return visitor.get("/api/v1/stats", headers=bearer).status_code == 200

    assert opens(hour)
    assert opens(endless)
    # If the hour passes, I expect the first to be refused
    served.clock.turn(3_600)
    assert not opens(hour)
    assert opens(endless)
    # If the other is revoked, I expect it to be refused at once
    with served.context.transaction() as session:
        tokens.revoke(session, names[1], served.clock())
    assert not opens(endless)


def test_nobody_can_read_a_token_out_of_the_database(served: Served, engine: Engine) -> None:
    # Given a token
    name = fresh()
    token = make_token(served, "stats:read", name=name)
    # I expect the table to hold its beginning and a hash, never the whole,
    with Session(engine) as session:
        row = session.query(ApiToken).filter_by(name=name).one()
        kept = repr({key: value for key, value in vars(row).items() if key[0] != "_"})
    assert token not in kept
    assert token[len(row.prefix) :] not in kept
    assert token.startswith(row.prefix)
    assert len(row.prefix) == 11
    # with 256 bits of chance in the token.
    assert len(token) >= 43 + len("hitl_")


def test_a_token_works_from_anywhere_and_never_borrows_a_cookie(
    served: Served, engine: Engine
) -> None:
    take_in(engine, requested(fresh()))
    with served.logged_in(fresh()) as ada:
        # Given a page of another site: its writes are refused, with her cookie or without
        elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
        refused = ada.post("/api/v1/tasks/claim", json={}, headers=elsewhere)
        assert code_of(refused) == "cross_origin"
        # A token is no cookie: what a program sends as Origin does not matter,
        bearer = {"Authorization": f"Bearer {make_token(served, 'tasks:write', name=fresh())}"}
        with served.visitor() as visitor:
            answer = visitor.post("/api/v1/tasks/claim", json={}, headers=elsewhere | bearer)
        assert answer.status_code == 200
        # but with a bad token her cookie does not help,
        bad = elsewhere | {"Authorization": "Bearer nonsense"}
        assert code_of(ada.post("/api/v1/tasks/claim", json={}, headers=bad)) == "invalid_token"
        # nor does a header open the pages that stand beside the API.
        page = ada.post("/", headers=elsewhere | bearer)
        assert (page.status_code, code_of(page)) == (403, "cross_origin")


def test_what_a_program_decides_is_on_record_under_its_name(served: Served, engine: Engine) -> None:
    take_in(engine, requested(fresh()))
    name = fresh()
    with program(served, "tasks:write", "tasks:read", name=name) as robot:
        task = robot.post("/tasks/claim", json={}).json()["tasks"][0]
        body = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "accept"}
        assert robot.post(f"/tasks/{task['id']}/decision", json=body).status_code == 200
        assert robot.get("/me").json()["name"] == f"token:{name}"


# -- the command line ------------------------------------------------------------------------


def hitl(database_url: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hitl", "token", *arguments],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, "HITL_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_tokens_are_made_shown_and_revoked_from_the_command_line(
    database_url: str, tmp_path: Path
) -> None:
    # If I make a token, I expect it alone on standard output
    made = hitl(
        database_url, tmp_path, "create", "loader", "--scope", "items:write", "--scope", "export"
    )
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("hitl_")
    assert "not shown again" in made.stderr
    # and in the list only how it begins
    listed = hitl(database_url, tmp_path, "list").stdout
    assert f"{token[:11]}…" in listed
    assert token not in listed
    assert "export items:write" in listed
    assert "active until" in listed
    # If I revoke it, I expect the list to say so
    assert hitl(database_url, tmp_path, "revoke", "loader").returncode == 0
    assert "revoked" in hitl(database_url, tmp_path, "list").stdout
    engine = connect(database_url, pool_size=1)
    with Session(engine) as session:
        assert everything(session)[0].revoked_at is not None
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "x", "--scope", "everything"), "the scopes are items:write"),
        (("create", "a b", "--scope", "export"), "a name has"),
        (("create", "x", "--scope", "export", "--workflow", "nowhere"), "nowhere"),
        (("revoke", "nobody"), "there is no token"),
    ],
)
def test_a_mistake_gets_one_clear_line(
    database_url: str, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = hitl(database_url, tmp_path, *arguments)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.strip().splitlines()) == 1
