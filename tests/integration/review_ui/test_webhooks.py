"""Does every decision reach the programs that want to hear of it, and nobody else?"""

import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text

from services.review_ui.webhooks.post import Answer, http_post
from services.review_ui.webhooks.sender import Sender
from shared.clock import utc_now
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerReviewRequested
from shared.events.models import derive_id
from shared.service.lifecycle import Lifecycle
from shared.storage.database import connect
from shared.workflows.files import Workflow
from tests.support.amqp_client import until
from tests.support.api_client import code_of, program
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)
from tests.support.webhook_receiver import Receiver, receiving

DELAYS = (5, 300)
UNDO_SECONDS = 5


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(
        make_test_context(engine, clock, Lifecycle(), webhook_private=True), clock
    ) as served:
        yield served


@pytest.fixture
def admin(served: Served) -> Iterator[httpx.Client]:
    with program(served, "webhooks") as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def sending(served: Served, *, private: bool = True, seconds: float = 5) -> Sender:
    """A sender as a review service has it, on the test's clock."""
    post = http_post(private=private, timeout_seconds=seconds)
    return Sender(served.context.engine, post, served.clock, DELAYS)


def webhook(admin: httpx.Client, url: str, **more: object) -> tuple[UUID, str]:
    """A new webhook's id and secret."""
    answer = admin.post("/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    return UUID(answer.json()["webhook"]["id"]), answer.json()["secret"]


def decide(reviewer: httpx.Client, label: str = "negative") -> str:
    """Takes the next item and decides it; the key to undo that."""
    (task,) = reviewer.post("/api/v1/tasks/claim", json={}).json()["tasks"]
    return decide_task(reviewer, task, label)


def decide_task(reviewer: httpx.Client, task: dict[str, Any], label: str) -> str:
    key = str(uuid4())
    body = {"key": key, "lease_token": task["lease_token"], "action": "correct", "label": label}
    answer = reviewer.post(f"/api/v1/tasks/{task['id']}/decision", json=body)
    assert answer.status_code == 200, answer.text
    return key


def standing(admin: httpx.Client, webhook_id: UUID) -> dict[str, Any]:
    found = {known["id"]: known for known in admin.get("/webhooks").json()["webhooks"]}
    known: dict[str, Any] = found[str(webhook_id)]
    return known


def deliveries(admin: httpx.Client, **wanted: object) -> list[dict[str, Any]]:
    answer = admin.get("/webhooks/deliveries", params={k: str(v) for k, v in wanted.items()})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


def test_a_decision_arrives_signed_after_a_failure_and_under_one_id(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given a receiver that is broken at first, and a decision
    receiver.answers = [500]
    hook, secret = webhook(admin, receiver.url + "/in?from=hitl")
    take_in(engine, requested("i1", text="ein Film ✓"))
    with served.logged_in("ada") as ada:
        decide(ada)
    sender = sending(served)
    # I expect nothing to leave as long as it can be taken back,
    assert not sender.send_one(hook)
    served.clock.turn(UNDO_SECONDS)
    # then a failed attempt, which the API shows,
    assert not sender.send_one(hook)
    (waits,) = deliveries(admin, state="waiting")
    assert (waits["attempts"], waits["last_status"], waits["last_error"]) == (1, 500, "HTTP 500")
    assert standing(admin, hook)["last_error"] == "HTTP 500"
    # none before its time, and the next one to arrive
    served.clock.turn(DELAYS[0] - 0.1)
    assert not sender.send_one(hook)
    served.clock.turn(DELAYS[0])
    assert sender.send_one(hook)
    first, second = receiver.received
    # under the event's own id, the same body, each signed at its own time.
    assert first.id == second.id == str(derive_id("item.reviewed", "sentiment", "i1", "1"))
    assert first.body == second.body
    assert first.path == "/in?from=hitl"
    assert first.signed_with(secret)
    assert second.signed_with(secret)
    assert not second.signed_with("whsec_" + "A" * 43 + "=")
    assert first.headers["webhook-timestamp"] < second.headers["webhook-timestamp"]
    assert int(second.headers["webhook-timestamp"]) == int(served.clock().timestamp())
    # The content is the event, as the broker's listeners get it.
    content = second.content
    assert content["type"] == "item.reviewed"
    with engine.connect() as connection:
        (event,) = connection.execute(text("SELECT body FROM outbox")).scalars()
    assert content["data"] == json.loads(bytes(event))
    assert content["data"]["item"]["text"] == "ein Film ✓"
    assert content["timestamp"] == "2024-05-01T12:00:00+00:00"
    # It is done: nothing more is sent, and the text is not kept.
    served.clock.turn(100_000)
    assert not sender.send_one(hook)
    (done,) = deliveries(admin, state="delivered")
    assert (done["attempts"], done["last_status"], done["last_error"]) == (2, 204, None)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT body FROM webhook_delivery")).scalars().all() == [
            None
        ]


def test_a_typed_decision_arrives_with_its_answer(engine: Engine, receiver: Receiver) -> None:
    # Given a workflow of several labels / If what was predicted is corrected, and first wrongly so
    clock = TurnedClock()
    flow = Workflow(name="moderation", answer="labels", labels=("toxic", "insult"))
    context = make_test_context(
        engine, clock, Lifecycle(), {"moderation": flow}, webhook_private=True
    )
    event = AnswerReviewRequested(
        workflow="moderation",
        occurred_at=clock(),
        item=AnswerItem(id="m1", text="You idiot", metadata={}, received_at=clock()),
        kind="labels",
        prediction=AnswerPrediction(
            kind="labels", answer={"labels": ["toxic"]}, confidence=0.6, model_version="theirs@1"
        ),
        routing=requested("m1").routing,
    )
    with serving(context, clock) as served, program(served, "webhooks") as admin:
        hook, secret = webhook(admin, receiver.url)
        take_in(engine, event)
        with served.logged_in("ada") as ada:
            (task,) = ada.post("/api/v1/tasks/claim", json={}).json()["tasks"]
            for labels, status in ((["rude"], 422), (["insult", "toxic"], 200)):
                body = {"key": str(uuid4()), "lease_token": task["lease_token"]}
                body |= {"action": "correct", "answer": {"labels": labels}}
                answer = ada.post(f"/api/v1/tasks/{task['id']}/decision", json=body)
                assert answer.status_code == status, answer.text
                if status == 422:
                    assert code_of(answer) == "bad_answer"
                    assert "labels[0]: no such label: 'rude'" in answer.text
        clock.turn(UNDO_SECONDS)
        assert sending(served).send_one(hook)
    # I expect the answer in its normal form, its kind beside it, and no label
    (sent,) = receiver.received
    assert sent.signed_with(secret)
    data = sent.content["data"]
    decision = data["decision"]
    assert (data["kind"], decision["kind"], decision["action"]) == ("labels", "labels", "corrected")
    assert decision["answer"] == {"labels": ["toxic", "insult"]}
    assert decision["ai_answer"] == data["prediction"]["answer"] == {"labels": ["toxic"]}
    assert "label" not in decision


def test_what_is_taken_back_is_never_sent_and_what_is_reopened_is_sent_anew(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given a decision that is undone in time
    hook, _ = webhook(admin, receiver.url)
    take_in(engine, requested("i1"))
    sender = sending(served)
    with served.logged_in("lea", "lead") as lea:
        undone = lea.post(f"/api/v1/decisions/{decide(lea)}/undo").json()
        served.clock.turn(1_000)
        # I expect nobody to hear of it
        assert not sender.send_one(hook)
        assert deliveries(admin) == []
        # If it is decided again, and again after that has left
        served.clock.turn(-900)
        decide_task(lea, undone["task"], "positive")
        served.clock.turn(UNDO_SECONDS)
        assert sender.send_one(hook)
        again = lea.post(f"/api/v1/tasks/{undone['task']['id']}/reopen")
        assert again.status_code == 200, again.text
        decide_task(lea, again.json(), "negative")
    served.clock.turn(UNDO_SECONDS)
    assert sender.send_one(hook)
    # I expect both, each with the id of its revision.
    said = [(h.id, h.content["data"]["decision"]["label"]) for h in receiver.received]
    assert said == [
        (str(derive_id("item.reviewed", "sentiment", "i1", "1")), "positive"),
        (str(derive_id("item.reviewed", "sentiment", "i1", "2")), "negative"),
    ]


def test_a_sender_killed_before_its_commit_leaves_the_delivery_to_the_next(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given a process that dies between the receiver's answer and its own commit
    hook, secret = webhook(admin, receiver.url)
    admin.post(f"/webhooks/{hook}/test").raise_for_status()
    real = http_post(private=True, timeout_seconds=5)

    def dying(*request: Any) -> Answer:
        real(*request)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sender(engine, dying, served.clock, DELAYS).send_one(hook)
    # I expect nobody to send it while the dead one could still be at it,
    other = sending(served)
    served.clock.turn(60)
    assert not other.send_one(hook)
    # then the next one to do so, under the same id.
    served.clock.turn(61)
    assert other.send_one(hook)
    first, second = receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    assert second.signed_with(secret)
    assert second.content["type"] == "webhook.test"


def test_two_senders_share_the_work_and_repeat_nothing(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given many deliveries and two processes
    hook, _ = webhook(admin, receiver.url)
    for _ in range(40):
        admin.post(f"/webhooks/{hook}/test").raise_for_status()
    senders = [sending(served), sending(served)]

    def work(sender: Sender) -> None:
        while sender.send_one(hook):
            pass

    threads = [threading.Thread(target=work, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # I expect each delivered once.
    assert len(receiver.received) == 40
    assert len({received.id for received in receiver.received}) == 40


def test_who_is_gone_is_not_called_again_and_who_fails_for_long_stays_visible(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    failed = "hitl_webhook_deliveries_total"
    before = REGISTRY.get_sample_value(failed, {"outcome": "failed"}) or 0
    # Given a receiver that answers nothing but redirects and errors
    receiver.answers = [302, 503, 404]
    receiver.headers = {"Location": receiver.url + "/elsewhere", "Retry-After": "30"}
    hook, _ = webhook(admin, receiver.url)
    admin.post(f"/webhooks/{hook}/test").raise_for_status()
    sender = sending(served)
    sender.send_one(hook)
    # I expect no redirect to be followed, and its wish to be left alone to be heard
    served.clock.turn(DELAYS[0] * 2)
    sender.send_one(hook)
    assert len(receiver.received) == 1
    served.clock.turn(30)
    sender.send_one(hook)
    sender.measure()
    oldest = REGISTRY.get_sample_value("hitl_webhook_oldest_undelivered_seconds")
    assert oldest == 40
    # If the last attempt fails, I expect it to stay in sight and nothing to be sent
    served.clock.turn(DELAYS[1] * 2)
    sender.send_one(hook)
    assert len(receiver.received) == 3
    (given_up,) = deliveries(admin, state="failed", webhook_id=hook)
    assert (given_up["attempts"], given_up["last_status"]) == (3, 404)
    assert standing(admin, hook)["failed"] == 1
    assert REGISTRY.get_sample_value(failed, {"outcome": "failed"}) == before + 1
    sender.measure()
    assert REGISTRY.get_sample_value("hitl_webhook_oldest_undelivered_seconds") == 0
    served.clock.turn(1_000_000)
    assert not sender.send_one(hook)
    # If a person tries it again, one or all, I expect it to be sent
    receiver.answers = [410]
    assert admin.post(f"/webhooks/deliveries/{given_up['id']}/retry").json() == {"retried": 1}
    sender.send_one(hook)
    # and a receiver that says it is gone not to be called again.
    gone = standing(admin, hook)
    assert (gone["active"], gone["disabled_reason"]) == (False, "the receiver answered 410 Gone")
    assert admin.post(f"/webhooks/{hook}/retry").json() == {"retried": 1}
    assert not sender.send_one(hook)
    assert len(receiver.received) == 4
    # If it is switched on again, what waited leaves.
    assert admin.patch(f"/webhooks/{hook}", json={"active": True}).json()["active"]
    assert sender.send_one(hook)
    assert code_of(admin.post(f"/webhooks/deliveries/{given_up['id']}/retry")) == "no_such_webhook"


def test_only_what_a_webhook_asked_for_is_sent_to_it(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given one for this workflow, one that is off, one that is removed
    webhook(admin, receiver.url + "/this", workflow="sentiment")
    off, _ = webhook(admin, receiver.url + "/off")
    admin.patch(f"/webhooks/{off}", json={"active": False}).raise_for_status()
    removed, _ = webhook(admin, receiver.url + "/removed")
    assert admin.delete(f"/webhooks/{removed}").status_code == 204
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook (id, url, workflow, types, secret, created_at)"
                " SELECT gen_random_uuid(), url, 'topics', types, secret, created_at"
                " FROM webhook WHERE workflow = 'sentiment'"
            )
        )
    take_in(engine, requested("i1"))
    with served.logged_in("ada") as ada:
        decide(ada)
    # I expect one delivery, to the first.
    (only,) = deliveries(admin)
    served.clock.turn(UNDO_SECONDS)
    sending(served).send_one(UUID(only["webhook_id"]))
    assert [received.path for received in receiver.received] == ["/this"]


def test_a_slow_receiver_holds_up_no_other(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given a receiver that does not answer in time, and one that does, behind much for the first
    with receiving() as slow:
        slow.slow_seconds = 30  # nobody waits for it: its thread ends with the process
        tardy, _ = webhook(admin, slow.url)
        for _ in range(5):
            admin.post(f"/webhooks/{tardy}/test").raise_for_status()
        quick, _ = webhook(admin, receiver.url)
        for _ in range(5):
            admin.post(f"/webhooks/{quick}/test").raise_for_status()
        sender = sending(served, seconds=1)
        stopping = threading.Event()
        loop = threading.Thread(target=sender.run, args=(stopping,))
        loop.start()
        try:
            # I expect the second to have everything before the first has waited once
            until(lambda: len(receiver.received) == 5, seconds=10, what="the quick receiver")
            assert slow.received == []
            # and the first's time to be cut off.
            until(
                lambda: standing(admin, tardy)["last_error"] == "no answer within 1 s",
                seconds=10,
                what="the slow receiver being given up",
            )
            assert sender.problem() is None
        finally:
            stopping.set()
            loop.join(20)
        assert not loop.is_alive()


def test_https_is_checked_and_an_answer_drop_by_drop_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a receiver with a certificate for localhost
    certificate = tmp_path / "certificate"
    command = (
        "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout certificate -out public"
    )
    made = subprocess.run(command.split(), cwd=tmp_path, capture_output=True)
    assert made.returncode == 0, made.stderr
    certificate.write_text(certificate.read_text() + (tmp_path / "public").read_text())
    with receiving(certificate) as receiver:
        # I expect nothing to be sent to who is not known, or under another name,
        stranger = http_post(private=True, timeout_seconds=5)(receiver.url, b"{}", {})
        assert stranger == Answer(None, "TLS: CERTIFICATE_VERIFY_FAILED")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public"))
        post = http_post(private=True, timeout_seconds=5)
        other = post(receiver.url.replace("localhost", "127.0.0.1"), b"{}", {})
        assert other == Answer(None, "TLS: CERTIFICATE_VERIFY_FAILED")
        assert receiver.received == []
        # but to who shows that it is the one.
        assert post(receiver.url, b"{}", {}) == Answer(204, None)
    # Given one that answers so slowly that no single wait is too long
    with socket.create_server(("127.0.0.1", 0)) as server:
        dripping = threading.Thread(target=drip, args=(server,))
        dripping.start()
        post = http_post(private=True, timeout_seconds=0.5)
        slow = post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        assert slow == Answer(None, "no answer within 0.5 s")
        dripping.join(10)
    assert not dripping.is_alive()


def drip(server: socket.socket) -> None:
    """Answers one connection a byte at a time until it is closed."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            time.sleep(0.1)
            connection.sendall(b"x")


def test_loopback_and_private_addresses_are_refused_by_default(
    engine: Engine, served: Served, admin: httpx.Client, receiver: Receiver
) -> None:
    # Given webhooks to this very machine, by number and by name
    port = receiver.url.rpartition(":")[2]
    strict = sending(served, private=False)
    for host in ("127.0.0.1", "localhost", "2130706433"):
        hook, _ = webhook(admin, f"http://{host}:{port}/")
        admin.post(f"/webhooks/{hook}/test").raise_for_status()
        # I expect nothing to be sent there, and to be told why
        assert not strict.send_one(hook)
        assert "private addresses are refused" in standing(admin, hook)["last_error"]
    assert receiver.received == []


def test_the_secret_is_seen_once_and_an_old_one_signs_for_a_day(
    engine: Engine,
    served: Served,
    admin: httpx.Client,
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a webhook whose secret is replaced
    caplog.set_level(logging.DEBUG)
    receiver.answers = [500]
    hook, old = webhook(admin, receiver.url)
    new = admin.post(f"/webhooks/{hook}/rotate").json()["secret"]
    admin.post(f"/webhooks/{hook}/test").raise_for_status()
    sender = sending(served)
    sender.send_one(hook)
    served.clock.turn(86_000)
    sender.send_one(hook)
    # I expect both to verify for a day, then the new one alone
    assert all(received.signed_with(old) for received in receiver.received)
    assert all(received.signed_with(new) for received in receiver.received)
    served.clock.turn(500)
    admin.post(f"/webhooks/{hook}/test").raise_for_status()
    sender.send_one(hook)
    assert not receiver.received[-1].signed_with(old)
    assert receiver.received[-1].signed_with(new)
    # and neither in any list nor in the log.
    seen = admin.get("/webhooks").text + admin.get("/webhooks/deliveries").text
    seen += admin.patch(f"/webhooks/{hook}", json={"active": False}).text
    seen += "".join(str(vars(record)) for record in caplog.records)
    assert "webhook delivery failed" in seen
    for secret in (old, new):
        assert secret.removeprefix("whsec_") not in seen


def test_only_admins_manage_and_mistakes_are_named(
    engine: Engine, served: Served, admin: httpx.Client
) -> None:
    with served.logged_in("lea", "lead") as lea:
        refused = lea.post("/api/v1/webhooks", json={"url": "https://example.com"})
        assert (refused.status_code, code_of(refused)) == (403, "role_required")
    with served.logged_in("root", "admin") as root:
        assert root.get("/api/v1/webhooks").json() == {"webhooks": []}
    for url in ("ftp://example.com", "https://u:p@example.com", "http://169.254.169.254/latest"):
        assert code_of(admin.post("/webhooks", json={"url": url})) == "bad_address"
    wrong = {"url": "https://example.com", "workflow": "nowhere"}
    assert code_of(admin.post("/webhooks", json=wrong)) == "no_such_workflow"
    wrong = {"url": "https://example.com", "types": ["item.scored"]}  # type: ignore[dict-item]
    assert admin.post("/webhooks", json=wrong).status_code == 422
    for path in ("rotate", "test", "retry"):
        assert admin.post(f"/webhooks/{uuid4()}/{path}").status_code == 404
    # A list goes on where the page before ended.
    hook, _ = webhook(admin, "https://example.com/in")
    for _ in range(3):
        admin.post(f"/webhooks/{hook}/test").raise_for_status()
    page = admin.get("/webhooks/deliveries?limit=2").json()
    rest = admin.get("/webhooks/deliveries", params={"cursor": page["next_cursor"]}).json()
    numbers = [row["id"] for row in [*page["deliveries"], *rest["deliveries"]]]
    assert len(numbers) == 3
    assert numbers == sorted(numbers, reverse=True)
    assert code_of(admin.get("/webhooks/deliveries?cursor=x")) == "bad_cursor"


def test_an_outage_of_the_database_only_delays(engine: Engine, served: Served) -> None:
    # Given a sender that cannot reach its database
    away = connect(engine.url.set(port=1).render_as_string(hide_password=False))
    sender = Sender(away, lambda *_: Answer(200, None), utc_now, DELAYS)
    stopping = threading.Event()
    loop = threading.Thread(target=sender.run, args=(stopping,))
    loop.start()
    # If it runs, I expect it to live on and to report the problem.
    try:
        until(lambda: sender.problem() is not None, what="the sender reporting its problem")
        assert "Postgres" in (sender.problem() or "")
        assert loop.is_alive()
    finally:
        stopping.set()
        loop.join(20)
