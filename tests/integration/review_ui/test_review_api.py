"""Does the API do what reviewers need, for them alone, and does it keep to itself what is blind?"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal
from uuid import uuid4

import httpx
import pytest
from argon2 import PasswordHasher
from pydantic import JsonValue
from sqlalchemy import Engine, text, update
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Accounts
from services.review_ui.auth.sessions import COOKIE, PER_ADDRESS, PER_NAME
from shared.service.lifecycle import Lifecycle
from shared.storage.database import connect
from shared.storage.tables import EventRow, ItemRow, ReviewTask
from tests.support.amqp_client import until
from tests.support.review_service import (
    PASSWORD,
    START,
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
    task_id,
)

_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


def claim(client: httpx.Client, count: int = 1) -> list[dict[str, object]]:
    answer = client.post("/api/v1/tasks/claim", json={"count": count})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["tasks"])


def decide(client: httpx.Client, task: dict[str, object], **given: object) -> httpx.Response:
    body = {
        "key": str(uuid4()),
        "lease_token": task["lease_token"],
        "action": "correct",
        "label": "negative",
        **given,
    }
    return client.post(f"/api/v1/tasks/{task['id']}/decision", json=body)


def code_of(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["code"])


def test_large_integers_of_the_metadata_are_exact_as_numbers_and_as_text(
    engine: Engine, served: Served
) -> None:
    # Given an item with numbers that a browser's JSON.parse would round, or write otherwise
    metadata: dict[str, JsonValue] = {
        "account": 2**63 + 1,
        "deep": [9007199254740993, {"x": 1.0}],
        "ok": True,
        "t": "1.10",
    }
    take_in(engine, requested("a", metadata=metadata))
    with served.logged_in("ada") as ada:
        (task,) = claim(ada)
    # I expect the numbers, and for the page the texts that spell them
    assert task["metadata"] == metadata
    assert task["details"] == [
        ["t", "1.10"], ["ok", "true"], ["deep", '[9007199254740993,{"x":1.0}]'],
        ["account", "9223372036854775809"],
    ]  # fmt: skip


# -- the way of a task -----------------------------------------------------------------------


def test_a_task_goes_from_claim_to_decision_and_back(engine: Engine, served: Served) -> None:
    # Given two tasks and a reviewer
    take_in(engine, requested("urgent", priority=7, metadata={"row": 1}), requested("other"))
    with served.logged_in("ada") as ada:
        # If she claims one, I expect the urgent one, with all that she needs
        (task,) = claim(ada)
        assert task["item_id"] == "urgent"
        assert task["text"] == "a film of two halves"
        assert task["metadata"] == {"row": 1}
        assert task["labels"] == ["negative", "positive"]
        assert task["suggestion"] == {
            "label": "positive",
            "confidence": 0.7,
            "distribution": {"positive": 0.7, "negative": 0.3},
            "model_version": "test@1",
            "threshold": 0.85,
        }
        assert task["reasons"] == [{"code": "threshold", "text": "confidence 70 % is under 85 %"}]
        # If she decides, I expect to hear until when it can be taken back
        key = str(uuid4())
        answer = decide(ada, task, key=key)
        assert answer.status_code == 200
        assert answer.json() == {
            "key": key,
            "task_id": task["id"],
            "action": "correct",
            "label": "negative",
            "effective": True,
            "decided_at": "2024-05-01T12:00:00Z",
            "undo_until": "2024-05-01T12:00:05Z",
        }
        assert decide(ada, task, key=key).json() == answer.json()
        # and it is among her decisions and in her numbers
        (recent,) = ada.get("/api/v1/decisions").json()["decisions"]
        assert (recent["item_id"], recent["label"], recent["undone"]) == (
            "urgent",
            "negative",
            False,
        )
        stats = ada.get("/api/v1/stats").json()
        assert stats["me"] == {
            "decided": 1,
            "skipped": 0,
            "flagged": 0,
            "agreement": 0.0,
            "for_others": 0,
        }
        assert stats["queues"] == [
            {"workflow": "sentiment", "queue": "default", "open": 1, "leased": 0}
        ]
        # If she takes it back, I expect the task in her hands again, twice the same
        undone = ada.post(f"/api/v1/decisions/{key}/undo").json()
        assert undone["task"]["id"] == task["id"]
        assert undone["task"]["lease_token"] == 2
        assert undone["published"] is False
        assert ada.post(f"/api/v1/decisions/{key}/undo").json() == undone


def test_a_late_decision_gets_a_clear_answer(engine: Engine, served: Served) -> None:
    # Given a task that Bob took over from Ada
    take_in(engine, requested("i1"))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        (adas,) = claim(ada)
        served.clock.turn(served.context.lease_seconds)
        (bobs,) = claim(bob)
        # If both decide, I expect Ada to be told and Bob to count
        late = decide(ada, adas)
        assert (late.status_code, code_of(late)) == (409, "stale_lease")
        assert "kept on record" in late.json()["error"]["message"]
        assert decide(bob, bobs).status_code == 200


def test_leases_are_extended_and_given_back(engine: Engine, served: Served) -> None:
    take_in(engine, requested("i1"))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        (task,) = claim(ada)
        lease = {"task_id": task["id"], "lease_token": task["lease_token"]}
        # A heartbeat extends it
        served.clock.turn(200)
        beat = ada.post("/api/v1/tasks/heartbeat", json={"leases": [lease]}).json()
        assert beat == {"held": {task["id"]: "2024-05-01T12:08:20Z"}, "lost": []}
        # Bob can neither extend nor release it
        assert bob.post("/api/v1/tasks/heartbeat", json={"leases": [lease]}).json() == {
            "held": {},
            "lost": [task["id"]],
        }
        assert bob.post("/api/v1/tasks/release", json={"leases": [lease]}).json() == {"released": 0}
        # As a page that goes away does it, by sendBeacon
        beacon = ada.post(
            "/api/v1/tasks/release",
            json={"leases": [lease]},
            headers={"Origin": served.url, "Sec-Fetch-Site": "same-origin"},
        )
        assert beacon.json() == {"released": 1}
        assert len(claim(bob)) == 1


def test_a_claim_that_nobody_waits_for_any_more_leases_nothing(
    engine: Engine, served: Served
) -> None:
    take_in(engine, *(requested(name) for name in ("doc-1", "doc-2")))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        # Given a claim that the database keeps waiting
        with engine.connect() as busy, busy.begin():
            busy.execute(text("LOCK TABLE review_task IN EXCLUSIVE MODE"))
            # If who asked goes away meanwhile, as a page that is closed does
            with pytest.raises(httpx.ReadTimeout):
                ada.post("/api/v1/tasks/claim", json={"count": 2}, timeout=0.5)
            assert busy.scalar(_WAITING) == 1
            bob.get("/healthz")  # by then the server knows of it
        # I expect the next to find everything there
        found: list[object] = []

        def all_found() -> bool:
            found.extend(task["item_id"] for task in claim(bob, 2))
            return len(found) == 2

        until(all_found, what="both items")
        assert set(found) == {"doc-1", "doc-2"}


def test_nobody_undoes_what_somebody_else_decided(engine: Engine, served: Served) -> None:
    take_in(engine, requested("i1"))
    with served.logged_in("ada") as ada, served.logged_in("bob") as bob:
        (task,) = claim(ada)
        key = str(uuid4())
        decide(ada, task, key=key)
        answer = bob.post(f"/api/v1/decisions/{key}/undo")
        assert (answer.status_code, code_of(answer)) == (404, "no_such_decision")


def test_a_senseless_request_gets_a_clear_answer(engine: Engine, served: Served) -> None:
    take_in(engine, requested("i1"))
    with served.logged_in("ada") as ada:
        (task,) = claim(ada)
        wrong: tuple[tuple[dict[str, object], str], ...] = (
            ({"action": "correct", "label": "nonsense"}, "unknown_label"),
            ({"action": "correct", "label": None}, "label_required"),
            ({"action": "flag", "label": None}, "reason_required"),
            ({"action": "shrug"}, "invalid_request"),
            ({"note": "a\0b"}, "invalid_request"),
            ({"lease_token": 2**63}, "invalid_request"),
            ({"typo": 1}, "invalid_request"),
        )
        for body, code in wrong:
            answer = decide(ada, task, **body)
            assert (body, answer.status_code, code_of(answer)) == (body, 422, code)


def test_what_the_api_does_not_take_is_answered_as_the_api_answers(served: Served) -> None:
    with served.logged_in("ada") as ada:
        # Given a path that is none; and one that takes other methods
        nowhere = ada.get("/api/v1/nothing")
        deleted = ada.delete("/api/v1/items")
        # I expect the API's own words, and the methods that there are
        assert (nowhere.status_code, code_of(nowhere)) == (404, "no_such_path")
        assert (deleted.status_code, code_of(deleted)) == (405, "no_such_method")
        assert deleted.headers["allow"] == "GET, POST"


def test_what_is_not_there_is_not_found(served: Served) -> None:
    with served.logged_in("ada") as ada:
        for path, code in (
            (f"/api/v1/tasks/{uuid4()}", "no_such_task"),
            ("/api/v1/items/sentiment/nothing", "no_such_item"),
            ("/api/v1/items/sentiment/%00", "no_such_item"),
            ("/api/v1/items/nothing/i1", "no_such_workflow"),
            ("/api/v1/tasks?workflow=nothing", "no_such_workflow"),
        ):
            answer = ada.get(path)
            assert (path, answer.status_code, code_of(answer)) == (path, 404, code)
        answer = decide(ada, {"id": uuid4(), "lease_token": 1})
        assert (answer.status_code, code_of(answer)) == (404, "no_such_task")


def test_while_the_database_is_away_everybody_is_told_to_try_again(engine: Engine) -> None:
    away = connect(engine.url.set(port=1).render_as_string(hide_password=False))
    clock = TurnedClock()
    context = make_test_context(away, clock, Lifecycle())
    with serving(context, clock) as served, served.visitor() as visitor:
        login = visitor.post("/api/v1/login", json={"name": "ada", "password": "x"})
        assert (login.status_code, code_of(login)) == (503, "database_away")
        assert login.headers["retry-after"] == "1"
        assert visitor.get("/healthz").status_code == 200


# -- blind items -----------------------------------------------------------------------------


def known(engine: Engine, item_id: str, label: str) -> None:
    """What the logger has written about an item that was sent to a person."""
    with Session(engine) as session, session.begin():
        session.add(
            ItemRow(
                workflow="sentiment",
                id=item_id,
                text="a film",
                status="HUMAN_REVIEW",
                progress=20,
                status_at=START,
                updated_at=START,
                ai_label=label,
                confidence=0.7,
                distribution={label: 0.7},
            )
        )
        session.add(
            EventRow(
                event_id=uuid4(),
                type="item.scored",
                version=1,
                workflow="sentiment",
                item_id=item_id,
                occurred_at=START,
                source="/hitl/inference",
                data={"prediction": {"label": label}},
            )
        )


def test_a_blind_item_looks_the_same_whatever_the_ai_thinks(engine: Engine, served: Served) -> None:
    """Two items that differ only in what the AI thinks: every answer about them must be equal."""

    def everything(item_id: str, label: str, confidence: float) -> list[str]:
        take_in(
            engine,
            requested(
                item_id,
                blind=True,
                label=label,
                confidence=confidence,
                queue=f"{label}-rule",
                priority=3 if label == "positive" else 4,
                due_at=START if label == "positive" else None,
                reason=f"sure of {label}",
            ),
        )
        known(engine, item_id, label)
        seen = []
        reviewer = f"reviewer-{item_id}"
        with served.logged_in(reviewer) as client:
            seen.append(client.get("/api/v1/tasks?workflow=sentiment").text)
            seen.append(client.post("/api/v1/tasks/claim", json={}).text)
            task = client.get(f"/api/v1/tasks/{task_id(item_id)}")
            seen.append(task.text)
            key = str(uuid4())
            accept = decide(client, task.json(), action="accept", label=None)
            seen.append(f"{accept.status_code} {accept.text}")
            seen.append(decide(client, task.json(), label="negative", key=key).text)
            seen.append(client.get("/api/v1/decisions").text)
            seen.append(str(client.get("/api/v1/stats").json()["me"]))
            seen.append(client.get(f"/api/v1/items/sentiment/{item_id}").text)
            seen.append(client.post(f"/api/v1/decisions/{key}/undo").text)
            seen.append(decide(client, client.get(f"/api/v1/tasks/{task_id(item_id)}").json()).text)
        with Session(engine) as session, session.begin():
            # One answer was unlike the AI's, and its item would now go to the next reviewer.
            session.execute(update(ReviewTask).values(status="decided", leased_by=None))
        own = {item_id: "ITEM", str(task_id(item_id)): "TASK"}
        pattern = re.compile("|".join(own))
        same = [pattern.sub(lambda found: own[found[0]], answer) for answer in seen]
        return [re.sub(r'"key":"[^"]+"', '"key":"…"', answer) for answer in same]

    # Given one that it finds positive and one that it finds negative; if I look at everything
    first = everything("item-a", "positive", 0.99)
    second = everything("item-b", "negative", 0.51)
    # I expect no difference anywhere
    for one, other in zip(first, second, strict=True):
        assert one == other
    # and that the comparison compared something
    assert "TASK" in first[1]
    assert first[3].startswith("422")
    assert '"hidden":true' in first[7]


def test_an_item_is_shown_with_its_history_once_nothing_is_hidden(
    engine: Engine, served: Served
) -> None:
    # Given an item that is not blind, and one that is and has been decided
    take_in(engine, requested("open"), requested("blind", blind=True))
    known(engine, "open", "positive")
    known(engine, "blind", "positive")
    known(engine, "unrouted", "positive")
    with served.logged_in("ada") as ada, served.logged_in("lea", "lead") as lead:
        shown = ada.get("/api/v1/items/sentiment/open").json()
        assert (shown["ai_label"], shown["hidden"]) == ("positive", False)
        assert shown["events"][0]["data"] == {"prediction": {"label": "positive"}}
        # An item that could still go to the panel is hidden
        assert ada.get("/api/v1/items/sentiment/unrouted").json()["ai_label"] is None
        # If the blind one is decided
        assert lead.get("/api/v1/items/sentiment/blind").json()["hidden"]
        for task in claim(ada, 2):
            decide(ada, task, label="positive")  # as the AI: no second review
        # I expect a lead to see it, and a reviewer, who could undo, not
        assert lead.get("/api/v1/items/sentiment/blind").json()["ai_label"] == "positive"
        assert ada.get("/api/v1/items/sentiment/blind").json()["ai_label"] is None


# -- who may come in -------------------------------------------------------------------------


def test_every_route_asks_who_is_there(served: Served) -> None:
    # Given all routes of the OpenAPI document
    with served.visitor() as visitor:
        paths = visitor.get("/api/v1/openapi.json").json()["paths"]
        routes = [(method, path) for path, methods in paths.items() for method in methods]
        assert len(routes) >= 12
        for method, path in routes:
            if path == "/api/v1/login":
                continue
            # If somebody calls one without a session
            filled = re.sub(r"\{[^}]+\}", str(uuid4()), path)
            answer = visitor.request(method, filled, json={} if method == "post" else None)
            # I expect 401, whatever else may be wrong with the request
            assert (path, answer.status_code) == (path, 401)
            assert code_of(answer) == "login_required"


def test_the_cookie_is_for_this_site_only_and_out_of_reach_of_scripts(served: Served) -> None:
    served.register("ada")
    login = {"name": "ada", "password": PASSWORD}
    with served.visitor() as visitor:
        plain = visitor.post("/api/v1/login", json=login).headers["set-cookie"]
        proxied = visitor.post(
            "/api/v1/login", json=login, headers={"X-Forwarded-Proto": "https"}
        ).headers["set-cookie"]
    assert plain.startswith(f"{COOKIE}=")
    for flag in ("HttpOnly", "SameSite=lax", "Path=/", "Max-Age=43200"):
        assert flag in plain
    assert "Domain" not in plain
    assert "Secure" not in plain
    assert "Secure" in proxied


def test_each_login_is_a_new_session_whatever_cookie_was_brought(served: Served) -> None:
    # Given a visitor whose browser somebody has given a cookie
    served.register("ada")
    login = {"name": "ada", "password": PASSWORD}
    planted = {"Cookie": f"{COOKIE}=planted"}
    with served.visitor() as visitor:
        first, second = (
            visitor.post("/api/v1/login", json=login, headers=planted).headers["set-cookie"]
            for _ in range(2)
        )
        assert visitor.get("/api/v1/me", headers=planted).status_code == 401
    # I expect the planted one to be worth nothing, and no two logins to share one
    assert "planted" not in first
    assert first.split(";")[0] != second.split(";")[0]


def test_a_session_ends_with_its_time_its_logout_and_its_account(served: Served) -> None:
    def here(client: httpx.Client) -> int:
        return client.get("/api/v1/me").status_code

    def again(client: httpx.Client, password: str = PASSWORD) -> None:
        login = {"name": "ada", "password": password}
        assert client.post("/api/v1/login", json=login).status_code == 200

    with served.logged_in("ada") as ada:
        assert here(ada) == 200
        assert ada.get("/").status_code == 200
        # Its time
        served.clock.turn(12 * 3_600)
        assert here(ada) == 401
        assert ada.get("/").status_code == 303
        # Its logout: a copy of the cookie is worth nothing either
        again(ada)
        copy = ada.cookies[COOKIE]
        assert ada.post("/api/v1/logout").status_code == 204
        ada.cookies.set(COOKIE, copy)
        assert here(ada) == 401
        # A new password
        ada.cookies.clear()
        again(ada)
        with served.context.transaction() as session:
            served.context.accounts.set_password(session, "ada", "another password")
        assert here(ada) == 401
        # The end of the account, for an open session and for a login
        again(ada, "another password")
        with served.context.transaction() as session:
            served.context.accounts.disable(session, "ada")
        assert here(ada) == 401
        assert ada.get("/", follow_redirects=False).headers["location"] == "/login"
        login = {"name": "ada", "password": "another password"}
        assert code_of(ada.post("/api/v1/login", json=login)) == "wrong_login"


def test_a_cookie_that_was_tampered_with_is_refused(served: Served) -> None:
    with served.logged_in("ada") as ada:
        payload, signature = ada.cookies[COOKIE].rsplit(".", 1)
        for forged in (
            # (not the last character: two of its six bits mean nothing)
            f"{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
            f"{payload[:-2]}.{signature}",
            payload,
            "",
            "\u00e9",
        ):
            answer = ada.get(
                "/api/v1/me", headers={b"Cookie": f"{COOKIE}={forged}".encode("latin-1")}
            )
            assert answer.status_code == 401


def test_passwords_cannot_be_guessed_at_speed(served: Served) -> None:
    served.register("ada")
    served.register("bob")
    with served.visitor() as visitor:

        def login(name: str, password: str) -> httpx.Response:
            return visitor.post("/api/v1/login", json={"name": name, "password": password})

        # Given as many wrong passwords as are borne
        for _ in range(PER_NAME.failures):
            assert code_of(login("ada", "wrong")) == "wrong_login"
        # I expect even the right one to be refused now, with the time to wait
        refused = login("ada", PASSWORD)
        assert (refused.status_code, code_of(refused)) == (429, "too_many_logins")
        assert 0 < int(refused.headers["retry-after"]) <= PER_NAME.seconds + 1
        # while others get in, and she does after the wait
        assert login("bob", PASSWORD).status_code == 200
        served.clock.turn(int(refused.headers["retry-after"]))
        assert login("ada", PASSWORD).status_code == 200
        # Given somebody who tries one password with many names
        for number in range(PER_ADDRESS.failures):
            login(f"name{number}", "123456")
        # I expect the address to be refused
        assert login("fresh", "123456").status_code == 429


def test_an_unknown_name_looks_like_a_wrong_password(served: Served) -> None:
    served.register("ada")
    with served.visitor() as visitor:

        def attempt(name: str) -> tuple[int, str]:
            answer = visitor.post("/api/v1/login", json={"name": name, "password": "wrong"})
            return answer.status_code, answer.text

        assert attempt("ada") == attempt("nobody")


class Counting(PasswordHasher):
    """Remembers which hashes it has computed against."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.tried: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.tried.append(str(hash))
        return super().verify(hash, password)


def test_an_unknown_name_costs_as_much_work_as_a_known_one(engine: Engine) -> None:
    # Given a hasher that counts, and one account
    hasher = Counting()
    accounts = Accounts(TurnedClock(), hasher)
    with Session(engine) as session, session.begin():
        accounts.create(session, "ada", "reviewer", PASSWORD)
        # If somebody tries a known and an unknown name
        assert accounts.verify(session, "ada", "wrong") is None
        assert accounts.verify(session, "nobody", "wrong") is None
    # I expect one hash to be computed for each, with the same parameters
    known_hash, other_hash = hasher.tried
    assert known_hash.split("$")[1:4] == other_hash.split("$")[1:4]


# -- what gets through the guard ---------------------------------------------------------------


def test_only_this_site_and_programs_may_write(served: Served) -> None:
    # Given a logged-in reviewer who visits another site; if that site posts with her cookie
    with served.logged_in("ada") as ada:
        for headers, status in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Origin": served.url}, 403),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": served.url}, 200),
            ({}, 200),
        ):
            # I expect it to be refused, and a request of this site or of a program to pass
            for path in ("/api/v1/tasks/claim", "/api/v1/tasks/release"):
                body: dict[str, list[str]] = {} if path.endswith("claim") else {"leases": []}
                answer = ada.post(path, json=body, headers=headers)
                assert (headers, answer.status_code) == (headers, status)
                if status == 403:
                    assert code_of(answer) == "cross_origin"


def test_no_other_site_may_read(served: Served) -> None:
    # Given a Host that is not localhost, for which gradio reflects any origin
    headers = {"Host": "review.example", "Origin": "https://evil.example"}
    with served.logged_in("ada") as ada:
        for path in ("/", "/config", "/api/v1/me", "/theme.css", "/gradio_api/startup-events"):
            answer = ada.get(path, headers=headers)
            assert answer.status_code == 200, path
            assert "access-control-allow-origin" not in answer.headers
            assert "access-control-allow-credentials" not in answer.headers


SHUT = (
    "/gradio_api/upload",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/proxy=http://127.0.0.1/",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/token",
    "/gradio_api/app_id",
    "/gradio_api/call/predict",
    "/gradio_api/queue/join",
    "/gradio_api/heartbeat/x",
    "/gradio_api/vibe-code",
    "/gradio_api/runs",
    "/gradio_api/deep_link",
    "/monitoring",
    "/monitoring/summary",
    "/file=/etc/passwd",
    "/docs",
    "/openapi.json",
    "/redoc",
    "/assets/../../../etc/passwd",
    "/ui/../app.py",
    "/ui/%2e%2e/app.py",
    "/ui/card/%2e%2e/%2e%2e/app.py",
    "/ui/card/..%2f..%2fapp.py",
    "/static/%2e%2e/%2e%2e/routes.py",
)


def test_what_the_page_does_not_need_is_not_there(served: Served) -> None:
    with served.logged_in("ada") as ada:
        for path in SHUT:
            for method in ("GET", "POST"):
                answer = ada.request(method, path)
                assert answer.status_code in (404, 405), (method, path)
                assert "root:" not in answer.text


def test_a_pages_function_takes_texts_and_opens_no_file(served: Served, tmp_path: Path) -> None:
    # Given a file of the server's that never ends, and a page's function
    endless = tmp_path / "endless"
    os.mkfifo(endless)
    meta = {"_type": "gradio.FileData"}
    call = {"fn_index": 1, "session_hash": "x", "data": ["", "", "", "last_week"]}
    with served.logged_in("eve") as eve:
        wrong: list[object] = [
            # If somebody calls it with a file in the place of a text, here or elsewhere, or with
            # anything else that no page sends
            [{"path": path, "meta": meta}, "", "", ""]
            for path in (str(endless), "/etc/passwd", "http://127.0.0.1:1/x")
        ]
        wrong += [[["x"], "", "", ""], ["x" * 1_001, "", "", ""], {"text": "x"}, "x", None]
        try:
            answers = [
                eve.post("/gradio_api/run/predict", json=call | {"data": data}, timeout=5)
                for data in wrong
            ]
        finally:  # what was opened all the same is let go
            with suppress(OSError):
                os.close(os.open(endless, os.O_WRONLY | os.O_NONBLOCK))
        # I expect it to be refused before anything is opened
        assert [(each.status_code, code_of(each)) for each in answers] == [
            (422, "invalid_request")
        ] * len(wrong)
        for body in (b"{", b'{"data":' + b"[" * 100_000, b"[]"):
            answer = eve.post("/gradio_api/run/predict", content=body)
            assert answer.status_code == 422, body[:20]
        large = eve.post("/gradio_api/run/predict", content=iter([b"x" * 700_000] * 2))
        assert large.status_code == 413
        # and the same function to answer who sends it texts
        assert eve.post("/gradio_api/run/predict", json=call).status_code == 200


def test_pages_and_their_parts_are_for_those_logged_in(served: Served) -> None:
    with served.visitor() as visitor:
        # What history and dashboard call is theirs alone, and never a plain link
        assert visitor.post("/gradio_api/run/predict", json={}).status_code == 401
        assert visitor.get("/gradio_api/run/predict").status_code in (401, 404, 405)
        assert visitor.get("/").headers["location"] == "/login"
        for path in ("/config", "/theme.css", "/gradio_api/startup-events"):
            assert visitor.get(path).status_code == 401
        for path in ("/login", "/ui/theme.css", "/healthz", "/metrics", "/api/v1/docs"):
            assert visitor.get(path).status_code == 200


def test_a_page_runs_only_scripts_of_its_own(served: Served) -> None:
    with served.logged_in("ada") as ada:
        nonces = set()
        for _ in range(2):
            page = ada.get("/")
            policy = page.headers["content-security-policy"]
            found = re.search(r"script-src 'self' 'nonce-([\w-]+)' 'unsafe-eval';", policy)
            assert found is not None
            nonces.add(found[1])
            # I expect every script of the page to carry it
            assert re.findall(r"<script(?![^>]*nonce=)", page.text) == []
            assert page.text.count(f'nonce="{found[1]}"') >= 3
            for part in ("connect-src 'self'", "frame-ancestors 'none'", "object-src 'none'"):
                assert part in policy
            assert page.headers["cache-control"] == "no-store"
            assert page.headers["x-content-type-options"] == "nosniff"
        # and a fresh one each time
        assert len(nonces) == 2


def test_a_huge_request_is_not_read(served: Served) -> None:
    with served.visitor() as visitor:
        announced = visitor.post("/api/v1/login", content=b"x" * 2_000_000)
        assert (announced.status_code, code_of(announced)) == (413, "http_413")

        def pieces() -> Iterator[bytes]:
            for _ in range(40):
                yield b"x" * 65_536

        streamed = visitor.post("/api/v1/login", content=pieces())
        assert streamed.status_code == 413


def test_operations_pages_answer_on_the_same_port(served: Served) -> None:
    with served.visitor() as visitor:
        assert visitor.get("/healthz").json() == {"status": "alive"}
        assert visitor.get("/readyz").json()["problems"] == {"lifecycle": "starting"}
        assert "hitl_outbox_oldest_unpublished_seconds" in visitor.get("/metrics").text
