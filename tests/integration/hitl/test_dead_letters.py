"""Can a person look at dead letters, put them back and remove them, and lose nothing by it?"""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from struct import pack

import pytest
from pika import BasicProperties, frame, spec
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from hitl.__main__ import app
from services.logger.handler import Logger
from services.router.handler import Router
from services.router.policy import Policy
from shared.clock import utc_now
from shared.errors import Permanent
from shared.events.envelope import encode
from shared.messages import Delivery, Handler, Outgoing
from shared.messaging.connection import declare_all
from shared.messaging.worker import Worker
from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import LOG_QUEUE, ROUTER_QUEUE, Topology, topology
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.example_events import SCORED

DELAYS = Settings().retry_delays_seconds
DRAWN: Topology = topology(["sentiment"], DELAYS)
INFERENCE = "hitl.sentiment.inference"


@pytest.fixture
def program(amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outsider]:
    """An outside program on a broker with all queues, which `hitl` talks to as well."""
    monkeypatch.setenv("AMQP_URL", amqp_url)
    monkeypatch.setenv("HITL_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    declare_all(amqp_url, DRAWN)
    with outsider(amqp_url) as one:
        yield one


def dlq(*words: str) -> Result:
    return CliRunner().invoke(app, ["dlq", *words])


def letter(
    program: Outsider,
    item: str,
    *,
    queue: str = ROUTER_QUEUE,
    reason: str = "schema",
    hours: float = 0,
    body: bytes | None = None,
    redrives: int = 0,
) -> None:
    """A dead letter as the worker leaves it."""
    failed_at = datetime.now(UTC) - timedelta(hours=hours)
    program.publish(
        body if body is not None else json.dumps({"id": item, "text": f"text of {item}"}),
        exchange="",
        routing_key=f"{queue}.dlq",
        message_id=f"m-{item}",
        content_type="application/json",
        headers={
            "traceparent": "t",
            "x-hitl-exchange": "hitl.events",
            "x-hitl-routing-key": "item.scored.sentiment",
            "x-hitl-reason": reason,
            "x-hitl-error": "text: missing",
            "x-hitl-queue": queue,
            "x-hitl-failed-at": failed_at.isoformat(),
            "x-attempt": 4,
            **({"x-hitl-redrives": redrives} if redrives else {}),
        },
    )


def items(found: Sequence[str]) -> list[str]:
    return [json.loads(line)["item_id"] for line in found]


def ids(program: Outsider, queue: str) -> list[str]:
    return [str(message.message_id) for message in program.drain(queue)]


def test_a_letter_whose_properties_are_no_text_is_shown_like_any_other(
    program: Outsider,
) -> None:
    # Given a letter with such properties and names of headers, also in a table; if I look at it
    headers = {b"\xff": "far", "table": {b"\xfe": [{b"\xfd": 1}]}}
    odd = {"content_type": b"\xfc", "content_encoding": b"\xfb", "message_id": b"\xfa"}
    to = f"{ROUTER_QUEUE}.dlq"
    program.publish(b'{"id": "odd"}', exchange="", routing_key=to, headers=headers, **odd)
    people, programs = dlq("show", "--item", "odd"), dlq("show", "--item", "odd", "--json")
    # I expect it, as text and as JSON
    assert people.exit_code == programs.exit_code == 0, people.output + programs.output
    assert r"\xff=far" in people.stdout
    shown = json.loads(programs.stdout)
    assert shown["headers"][r"\xff"] == "far"
    assert shown["headers"]["table"] == {r"\xfe": [{r"\xfd": 1}]}
    assert (shown["content_type"], shown["content_encoding"]) == (r"\xfc", r"\xfb")


def test_looking_tells_what_and_why_and_changes_nothing(program: Outsider) -> None:
    # Given letters of three queues, one not readable as text and one that nobody took
    for number in range(40):
        letter(program, f"a{number}", hours=50 if number == 0 else 1)
    letter(program, "b", queue=INFERENCE, reason="not_utf8", body=b"\xff\x1b[31mred")
    program.publish('{"text": "x"}', routing_key="nosuch", message_id="m-c")
    until(lambda: program.ready("hitl.unroutable") == 1)

    # If I list them, I expect counts by reason and the oldest age
    listed = dlq("list")
    assert listed.exit_code == 0, listed.output
    assert "schema 40" in listed.stdout
    assert "2 d" in listed.stdout
    rows = {row["queue"]: row for row in map(json.loads, dlq("list", "--json").stdout.splitlines())}
    assert rows["hitl.router.dlq"]["reasons"] == {"schema": 40}
    assert rows["hitl.router.dlq"]["oldest_seconds"] > 49 * 3600
    assert rows["hitl.unroutable"]["reasons"] == {"unknown_workflow": 1}
    assert rows["hitl.log.dlq"]["letters"] == 0

    # If I look at some, I expect just those, and what is in them
    one = json.loads(dlq("show", "--item", "a7", "--json").stdout)
    assert (one["reason"], one["error"], one["home"]) == ("schema", "text: missing", ROUTER_QUEUE)
    assert json.loads(one["body"])["text"] == "text of a7"
    assert items(dlq("show", "--older-than", "2d", "--json").stdout.splitlines()) == ["a0"]
    first = dlq("show", "--queue", "hitl.router", "--limit", "3", "--json")
    assert items(first.stdout.splitlines()) == ["a0", "a1", "a2"]
    raw = json.loads(dlq("show", "--reason", "not_utf8", "--json").stdout)
    assert base64.b64decode(raw["body_base64"]) == b"\xff\x1b[31mred"
    shown = dlq("show", "--reason", "not_utf8").stdout
    assert "text: missing" in shown
    assert "\x1b[31m" not in shown, "a letter must not speak to the terminal"
    assert "No such dead-lettered message" in dlq("show", "--reason", "not_json").stdout
    assert dlq("show", "--older-than", "soon").exit_code == 2

    # And I may look as often as I like: RabbitMQ counts each look as a delivery
    for _ in range(22):
        dlq("show", "--queue", "hitl.router", "--limit", "1")
    assert ids(program, "hitl.router.dlq") == [f"m-a{number}" for number in range(40)]
    assert ids(program, f"{INFERENCE}.dlq") == ["m-b"]
    assert ids(program, "hitl.unroutable") == ["m-c"]


def test_no_producer_speaks_to_the_operators_terminal(program: Outsider) -> None:
    # Given an item that expired, so that the broker set it aside with its producer's own headers
    program.publish(
        json.dumps({"id": "e\x1b]0;mine\x07vil", "text": "x\x9b31m"}),
        routing_key="sentiment",
        expiration="1",
        headers={"x-hitl-reason": "[/bold]\x1b[2J", "x-hitl-error": "\x1b[8m"},
    )
    until(lambda: program.ready(f"{INFERENCE}.dlq") == 1)
    # If I look, I expect what it says, as text
    listed, shown = dlq("list"), dlq("show", "--queue", INFERENCE)
    assert listed.exit_code == shown.exit_code == 0, listed.output + shown.output
    assert "[/bold]\ufffd[2J 1" in listed.stdout
    assert "e\ufffd]0;mine\ufffdvil" in shown.stdout
    for said in (listed.stdout, shown.stdout):
        assert not set("\x1b\x07\x9b") & set(said), said


def test_a_producer_cannot_name_another_origin_for_what_is_put_back(program: Outsider) -> None:
    # Given an item that expired in the log's queue, and says that the router had sent it
    program.publish(
        json.dumps({"id": "forged", "text": "x"}),
        routing_key="sentiment",
        expiration="1",
        headers={
            "x-hitl-exchange": "hitl.events",
            "x-hitl-routing-key": "item.accepted.sentiment",
            "cloudEvents_type": "item.accepted",
        },
    )
    until(lambda: program.ready(f"{LOG_QUEUE}.dlq") == 1)
    # If I put it back
    done = dlq("redrive", "--queue", LOG_QUEUE, "--yes")
    assert done.exit_code == 0, done.output
    # I expect the log to be told where the broker had it from
    [back] = program.drain(LOG_QUEUE)
    assert back.headers["x-hitl-exchange"] == "hitl.items"
    assert back.headers["x-hitl-routing-key"] == "sentiment"


def test_a_letter_whose_headers_cannot_be_read_hides_no_other(program: Outsider) -> None:
    # Given a letter that the broker set aside as it was, with a header that Python has no value
    # for, a time in the year 100 000; and another one after it
    table = b"\x04when" + b"T" + pack(">Q", 3_093_527_980_800)
    properties = pack(">HL", BasicProperties.FLAG_HEADERS, len(table)) + table
    body = b'{"id": "far", "text": "x"}'
    content = pack(">HHQ", BasicProperties.INDEX, 0, len(body)) + properties
    number = program.channel_number
    program.send(
        frame.Method(number, spec.Basic.Publish(0, "", "hitl.router.dlq")).marshal(),
        pack(">BHL", spec.FRAME_HEADER, number, len(content)) + content + b"\xce",
        frame.Body(number, body).marshal(),
    )
    letter(program, "near")
    until(lambda: program.ready("hitl.router.dlq") == 2)
    # I expect both to be counted, shown and put back
    assert '"letters": 2, "reasons": {"unknown": 1, "schema": 1}' in dlq("list", "--json").stdout
    assert items(dlq("show", "--json").stdout.splitlines()) == ["far", "near"]
    assert "2 messages requeued" in dlq("redrive", "--yes").stderr
    assert program.ready(ROUTER_QUEUE) == 2  # the other client cannot read that time either


def test_a_thousand_letters_go_back_in_order_to_their_queue_alone(program: Outsider) -> None:
    # Given a thousand letters
    for number in range(1_000):
        letter(program, str(number))
    # A dry run says so and changes nothing
    dry = dlq("redrive", "--dry-run")
    assert "1000 messages would be requeued" in dry.stderr
    assert program.ready("hitl.router.dlq") == 1_000
    assert program.ready(ROUTER_QUEUE) == 0
    # Nor does a redrive that nobody confirms
    assert dlq("redrive").exit_code == 1
    assert program.ready("hitl.router.dlq") == 1_000

    # If I put them back, I expect all in order, with their ids, their attempts counted anew
    done = dlq("redrive", "--yes")
    assert "1000 messages requeued" in done.stderr, done.output
    assert program.ready("hitl.router.dlq") == 0
    assert program.ready(LOG_QUEUE) == 0, "no other queue sees them a second time"
    back = program.drain(ROUTER_QUEUE)
    assert [message.message_id for message in back] == [f"m-{number}" for number in range(1_000)]
    # The broker's own count begins afresh; since 4.0 it is not there before the second delivery.
    counted = {key: value for key, value in back[0].headers.items() if key == "x-delivery-count"}
    assert counted in ({}, {"x-delivery-count": 0})
    assert back[0].headers == counted | {
        "traceparent": "t",
        "x-hitl-exchange": "hitl.events",
        "x-hitl-routing-key": "item.scored.sentiment",
        "x-hitl-redrives": 1,
    }
    assert back[0].persistent


def test_a_filter_takes_its_own_and_the_others_keep_their_places(program: Outsider) -> None:
    for number in range(300):
        letter(program, str(number), reason="schema" if number % 3 else "not_finite")
    done = dlq("redrive", "--reason", "not_finite", "--yes")
    assert "100 messages requeued" in done.stderr, done.output
    assert ids(program, ROUTER_QUEUE) == [f"m-{number}" for number in range(0, 300, 3)]
    done = dlq("redrive", "--limit", "5", "--yes")
    assert "5 messages requeued" in done.stderr
    left = [f"m-{number}" for number in range(300) if number % 3]
    assert ids(program, ROUTER_QUEUE) == left[:5]
    assert ids(program, "hitl.router.dlq") == left[5:]


def test_what_cannot_or_should_not_go_back_stays(program: Outsider) -> None:
    # Given one that was put back three times, one whose queue is gone, and one of no workflow
    letter(program, "often", redrives=3)
    letter(program, "homeless", queue="hitl.sentiment.review")
    program.delete("hitl.sentiment.review")
    program.publish('{"text": "x"}', routing_key="nosuch", message_id="m-none")
    until(lambda: program.ready("hitl.unroutable") == 1)
    done = dlq("redrive", "--yes")
    assert done.exit_code == 1
    assert "0 messages requeued" in done.stderr
    assert "the queue hitl.sentiment.review does not exist" in done.stderr
    assert "the queue hitl.nosuch.inference does not exist" in done.stderr
    assert "--force" in done.stderr
    # With --force the first goes, too
    assert (
        "1 messages requeued" in dlq("redrive", "--queue", "hitl.router", "--force", "--yes").stderr
    )
    assert [m.headers["x-hitl-redrives"] for m in program.drain(ROUTER_QUEUE)] == [4]
    # A queue that takes nothing keeps nothing either: the letter stays
    letter(program, "refused", queue=INFERENCE)
    program.delete(INFERENCE)
    full = {"x-queue-type": "classic", "x-overflow": "reject-publish", "x-max-length": 0}
    program.declare(INFERENCE, **full)
    done = dlq("redrive", "--queue", INFERENCE, "--yes")
    assert done.exit_code == 1
    assert "1 stay: their queue refused them" in done.stderr
    assert ids(program, f"{INFERENCE}.dlq") == ["m-refused"]


def test_a_crash_between_publish_and_ack_leaves_two_and_never_none(program: Outsider) -> None:
    for number in range(20):
        letter(program, str(number))
    crashing = (
        "import os, pika.channel\n"
        "pika.channel.Channel.basic_ack = lambda *_a, **_k: os._exit(9)\n"
        "from hitl.__main__ import app\n"
        "app(['dlq', 'redrive', '--yes'])\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", crashing], cwd=Path(__file__).parents[3], check=False, timeout=60
    )
    assert died.returncode == 9
    until(lambda: program.ready("hitl.router.dlq") == 20)
    back = set(ids(program, ROUTER_QUEUE))
    assert back, "it died after a confirm"
    # The next redrive is complete; who was put back twice has one id
    assert dlq("redrive", "--yes").exit_code == 0
    again = ids(program, ROUTER_QUEUE)
    assert again == [f"m-{number}" for number in range(20)]
    assert program.ready("hitl.router.dlq") == 0


def test_a_purge_writes_down_what_it_removes(program: Outsider, tmp_path: Path) -> None:
    for number in range(100):
        letter(program, str(number), hours=number)
    letter(program, "raw", body=b"\xff\x00", hours=200)
    assert dlq("purge").exit_code == 1, "everything has to be said"
    assert dlq("purge", "--all").exit_code == 1, "and agreed to"
    assert (
        "70 messages would be removed" in dlq("purge", "--older-than", "30.5h", "--dry-run").stderr
    )
    assert program.ready("hitl.router.dlq") == 101

    file = tmp_path / "kept.jsonl"
    done = dlq("purge", "--older-than", "30.5h", "--yes", "--save", str(file))
    assert "70 messages removed" in done.stderr, done.output
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert items(file.read_text().splitlines())[:3] == ["31", "32", "33"]
    assert json.loads(kept[0]["body"])["text"] == "text of 31"
    assert kept[0]["headers"]["traceparent"] == "t"
    assert base64.b64decode(kept[-1]["body_base64"]) == b"\xff\x00"
    assert file.stat().st_mode & 0o077 == 0, "texts of people are not for everybody"
    # Without --save it goes to the home folder; nothing is left
    assert "31 messages removed" in dlq("purge", "--all", "--yes").stderr
    [default] = tmp_path.glob("purged-*.jsonl")
    assert len(default.read_text().splitlines()) == 31
    assert program.ready("hitl.router.dlq") == 0


@contextmanager
def working(amqp_url: str, queue: str, handler: Handler) -> Iterator[None]:
    """A worker of one queue in a thread."""
    lifecycle = Lifecycle()
    settings = Settings.from_environment({"AMQP_URL": amqp_url})
    worker = Worker(
        service="test", settings=settings, topology=DRAWN, lifecycle=lifecycle,
        queues=[queue], handler=handler, prefetch=100, max_batch=50,
    )  # fmt: skip
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        lifecycle.stopping.set()
        thread.join(20)
        assert not thread.is_alive()


class Failing:
    """A router that was deployed with a fault."""

    def handle(self, batch: Sequence[Delivery]) -> list[Permanent | tuple[Outgoing, ...]]:
        return [Permanent("unscorable", "a fault of ours") for _ in batch]


def test_an_item_that_is_put_back_and_then_succeeds_is_no_longer_failed(
    program: Outsider, amqp_url: str, engine: Engine
) -> None:
    def status() -> str | None:
        with engine.connect() as connection:
            return connection.execute(text("SELECT status FROM item")).scalar()

    message = encode(SCORED, source="test", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1_000_000, clock=utc_now)
    with working(amqp_url, LOG_QUEUE, log):
        # Given an item that a faulty router set aside
        with working(amqp_url, ROUTER_QUEUE, Failing()):
            program.publish(
                message.body, exchange=message.exchange, routing_key=message.routing_key,
                message_id=message.message_id, headers=dict(message.headers),
            )  # fmt: skip
            until(lambda: status() == "FAILED")
        shown = json.loads(dlq("show", "--json").stdout)
        assert (shown["item_id"], shown["reason"]) == (SCORED.item.id, "unscorable")
        # If I put it back once the router is mended, I expect the route, and no trace of two
        router = Router(lambda _: Policy(threshold=0.5), salt="s", clock=utc_now)
        with working(amqp_url, ROUTER_QUEUE, router):
            assert "1 messages requeued" in dlq("redrive", "--yes").stderr
            until(lambda: status() in ("HUMAN_REVIEW", "AI_ACCEPTED"))
    with engine.connect() as connection:
        types = connection.execute(text("SELECT type FROM event ORDER BY type")).scalars().all()
    assert types == ["item.failed", "item.review_requested", "item.scored"]
