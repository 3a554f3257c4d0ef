"""Do the headers of somebody else's client survive being set aside, tried again and put back?"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from struct import pack

import pytest
from typer.testing import CliRunner

from hitl.__main__ import app
from shared.errors import Permanent, Retryable
from shared.messages import Delivery, Headers, Result, plain
from shared.messaging.amqp.headers import write_table
from shared.messaging.retry import attempts
from shared.topology import ROUTER_QUEUE
from tests.integration.hitl.test_odd_letters import HEADERS, field, publish, table, text
from tests.support.amqp_client import outsider, until
from tests.support.service_workers import working

LETTERS = "hitl.router.dlq"
# What another client reads again, and what none does.
USUAL = (
    field("yes", b"t", b"\x01"),
    field("signed byte", b"b", b"\x85"),
    field("byte", b"B", b"\xfa"),
    field("short", b"s", pack(">h", -30_000)),
    field("unsigned short", b"u", pack(">H", 65_000)),
    field("long", b"I", pack(">i", -2_000_000_000)),
    field("unsigned long", b"i", pack(">L", 4_000_000_000)),
    field("long long", b"l", pack(">q", 2**62 + 1)),
    field("float", b"f", pack(">f", 0.97)),
    field("double", b"d", pack(">d", 0.97)),
    field("large", b"d", pack(">d", 1e300)),
    field("money", b"D", pack(">Bi", 2, 110)),
    field("time", b"T", pack(">Q", 1_700_000_000)),
    field("nothing", b"V", b""),
    field("bytes", b"x", pack(">L", 3) + b"\x00\xff\x01"),
    field("scores", b"A", pack(">L", 18) + b"d" + pack(">d", 0.5) + b"d" + pack(">d", -0.25)),
    field("model", b"F", table(field("score", b"d", pack(">d", 0.97)))),
)
EVERY_TYPE = (
    *USUAL,
    field("late", b"T", pack(">Q", 2**40)),
    text("no utf-8", b"caf\xe9"),
)
NUMBERS = {"byte": 250, "short": -30_000, "float": 0.9700000286102295, "double": 0.97}


class Failing:
    """Tries everything once more, then sets it aside; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Headers] = []

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        self.seen += [one.headers for one in batch]
        return [
            Retryable("once more") if attempts(one) == 1 else Permanent("not_json", "no JSON")
            for one in batch
        ]


def of_theirs(headers: Mapping[str, object]) -> set[bytes]:
    """What goes on for each header, in no order (RabbitMQ keeps none), but for those we added."""
    ours = ("x-hitl-", "x-attempt", "x-death", "x-first-", "x-last-", "x-delivery-count")
    return {
        write_table({name: value})[4:]
        for name, value in headers.items()
        if not name.startswith(ours)
    }


def test_another_client_reads_its_headers_from_the_dead_letter_queue(amqp_url: str) -> None:
    with outsider(amqp_url) as program:
        # Given what py-amqp reads of a message that none of us had in hand
        program.declare("control", **{"x-queue-type": "quorum"})
        publish(program, HEADERS, table(*USUAL), b"{}", to="control")
        sent = program.take("control", 1)[0].headers
        assert sent["double"] == 0.97
        with working(amqp_url, [(ROUTER_QUEUE, Failing())]):
            until(lambda: program.exists(ROUTER_QUEUE) and program.exists(LETTERS))
            # If the same is tried again and then set aside
            publish(program, HEADERS, table(*USUAL), b"{}")
            letter = program.take(LETTERS, 1)[0]
    # I expect the copy to hold the same
    assert {name: letter.headers.get(name) for name in sent} == sent


def test_headers_of_every_type_go_on_as_they_came(
    amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that takes nothing, and a message with headers of every type
    worker = Failing()
    monkeypatch.setenv("AMQP_URL", amqp_url)
    monkeypatch.setenv("HITL_HOME", str(tmp_path))
    with outsider(amqp_url) as program:
        with working(amqp_url, [(ROUTER_QUEUE, worker)]):
            until(lambda: program.exists(ROUTER_QUEUE) and program.exists(LETTERS))
            publish(program, HEADERS, table(*EVERY_TYPE), b"{}")
            until(lambda: program.ready(LETTERS) == 1)
        # If it was tried again and set aside, and a person looks at it and puts it back
        shown = CliRunner().invoke(app, ["dlq", "show", "--json"])
        assert '"double": 0.97' in shown.stdout, shown.output
        back = CliRunner().invoke(app, ["dlq", "redrive", "--yes"])
        assert back.exit_code == 0, back.output
        with working(amqp_url, [(ROUTER_QUEUE, worker)]):
            until(lambda: len(worker.seen) == 4)
    # I expect each to have come as it was sent, each time, to be read as what it is
    for headers in worker.seen:
        assert of_theirs(headers) == set(EVERY_TYPE)
        read = {name: plain(value) for name, value in headers.items()}
        assert {name: read[name] for name in NUMBERS} == NUMBERS
        assert read["money"] == Decimal("1.10")
        assert read["time"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
        assert read["scores"] == [0.5, -0.25]
        assert read["model"] == {"score": 0.97}
        assert read["no utf-8"] == b"caf\xe9"
