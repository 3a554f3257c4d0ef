"""Can a message be set aside whatever its properties hold? Any client may send anything."""

from collections.abc import Sequence
from struct import pack

from pika import frame, spec

from shared.errors import Permanent
from shared.messages import Delivery, Result
from shared.topology import ROUTER_QUEUE
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.service_workers import working

HEADERS = spec.BasicProperties.FLAG_HEADERS
MESSAGE_ID = spec.BasicProperties.FLAG_MESSAGE_ID
CONTENT_TYPE = spec.BasicProperties.FLAG_CONTENT_TYPE


class Refusing:
    """Sets everything aside."""

    def handle(self, batch: Sequence[Delivery]) -> list[Result]:
        return [Permanent("not_json", "no JSON") for _ in batch]


def table(*fields: bytes) -> bytes:
    return pack(">L", len(b"".join(fields))) + b"".join(fields)


def field(name: str, kind: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name.encode() + kind + value


def text(name: str, value: bytes) -> bytes:
    return field(name, b"S", pack(">L", len(value)) + value)


def nested(depth: int) -> bytes:
    """A table in a table in a table …"""
    inner = b""
    for _ in range(depth):
        inner = field("t", b"F", table(inner))
    return inner


ID = text("cloudEvents_id", b"kept")
ODD = {
    "a float beyond 64 bits": (HEADERS, table(ID, field("price", b"d", pack(">d", 1e19)))),
    "one in an array": (
        HEADERS,
        table(ID, field("prices", b"A", pack(">L", 9) + b"d" + pack(">d", -1e300))),
    ),
    "tables in tables": (HEADERS, table(ID, nested(480))),
    "as many headers as a frame takes": (HEADERS, table(ID, text("large", b"x" * 130_900))),
    "many of them": (
        HEADERS,
        table(ID, *(text(f"n{number}", b"x" * 1_000) for number in range(129))),
    ),
    "an id that is no UTF-8": (MESSAGE_ID, b"\xff" + b"\xe9" * 255),
    "a content type that is no UTF-8": (CONTENT_TYPE, b"\xff" + b"\xe9" * 255),
    "a header whose name is no UTF-8": (HEADERS, table(ID, b"\x02\xe9\xe9V")),
}


def publish(
    program: Outsider, flags: int, properties: bytes, body: bytes, *, to: str = ROUTER_QUEUE
) -> None:
    """As no client would write it."""
    number = program.channel_number
    content = pack(">HHQH", spec.BasicProperties.INDEX, 0, len(body), flags) + properties
    program.send(
        frame.Method(number, spec.Basic.Publish(0, "", to)).marshal(),
        pack(">BHL", spec.FRAME_HEADER, number, len(content)) + content + b"\xce",
        frame.Body(number, body).marshal(),
    )


def test_a_message_is_set_aside_whatever_its_properties_hold(amqp_url: str) -> None:
    # Given a worker that can read nothing
    with working(amqp_url, [(ROUTER_QUEUE, Refusing())]), outsider(amqp_url) as program:
        until(lambda: program.exists(ROUTER_QUEUE))
        # If messages come whose properties no client of ours would write, and a usual one
        for odd, (flags, properties) in ODD.items():
            publish(program, flags, properties, odd.encode())
        program.publish(b"usual", exchange="", routing_key=ROUTER_QUEUE)
        # I expect all to be set aside, on the first try, with as much as can be sent on
        letters = program.take("hitl.router.dlq", len(ODD) + 1)
    assert [letter.body.decode() for letter in letters] == [*ODD, "usual"]
    assert {letter.headers["x-hitl-reason"] for letter in letters} == {"not_json"}
    for letter, (flags, _) in zip(letters, ODD.values(), strict=False):
        assert flags != HEADERS or letter.headers["cloudEvents_id"] == "kept", letter.body
