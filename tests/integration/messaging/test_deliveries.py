"""Does a consumer take the same, and a publisher send the same, whatever connection it has?"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from struct import pack
from typing import Any

import pika
import pytest
from pika import frame, spec

from shared.messages import Delivery, ForeignHeader, Outgoing
from shared.messaging import consumer, io_thread, publisher
from shared.messaging.amqp.fast_connection import BatchingConnection
from shared.messaging.amqp.headers import delivery_of
from shared.messaging.connection import Broker
from shared.messaging.consumer import Consumer
from shared.messaging.retry import ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY
from shared.topology import ROUTER_QUEUE, topology
from tests.support.amqp_client import outsider, until

TOPOLOGY = topology(["sentiment"], (1,))
TEXTS = {f"cloudEvents_{n}": "v" * n for n in range(20)} | {"ünï": "日本語 🙂"}
BACK = {ORIGINAL_EXCHANGE: "hitl.events", ORIGINAL_ROUTING_KEY: "item.scored.sentiment"}


class Pieces(BatchingConnection):
    """Gets what the broker sends in pieces of 7 bytes."""

    def _on_data_available(self, data_in: bytes) -> None:
        for start in range(0, len(data_in), 7):
            super()._on_data_available(data_in[start : start + 7])


def message(number: int, **fields: object) -> Outgoing:
    usual = Outgoing("", ROUTER_QUEUE, b"{}", f"m{number}", headers=TEXTS, timestamp=number)
    return replace(usual, **fields)  # type: ignore[arg-type]  # named by the caller


def messages() -> list[Outgoing]:
    """What our own code knows by heart, and in between what only pika can read or write."""
    mixed = [
        message(0),
        message(1, headers={"x-attempt": 2, **TEXTS}),
        message(2, headers=BACK),
        message(3, headers={**BACK, "x-attempt": 1}),
        message(4, body=b"", type="item.scored"),
        message(5, body=secrets.token_bytes(130_000)),
        message(6, body=secrets.token_bytes(300_000)),
        message(7, headers={}, timestamp=None),
        message(8, headers={"long": "x" * 70_000}),
        message(9, headers={"table": {"of": [1, None, True]}}),
        message(10, expiration_ms=600_000),
        message(11, content_type="text/plain"),
        # 4, which is where RabbitMQ 4.3 puts what has none: the order stays.
        message(12, priority=4, timestamp=None),
        message(13, priority=4, content_encoding="utf-8", headers={}),  # as kombu writes
    ]
    return [*mixed, *(message(number) for number in range(14, 300))]


@pytest.fixture
def by_pika(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The ids of the messages for which pika's own objects are made."""
    seen: dict[str, set[str]] = {"read": set(), "written": set()}

    def reading(queue: str, method: Any, properties: Any, body: bytes, generation: int) -> Delivery:
        seen["read"].add(properties.message_id)
        return delivery_of(queue, method, properties, body, generation)

    def writing(channel: Any, message: Outgoing) -> None:
        seen["written"].add(message.message_id)
        write(channel, message)

    write = publisher._publish
    monkeypatch.setattr(consumer, "delivery_of", reading)
    monkeypatch.setattr(publisher, "_publish", writing)
    return seen


def taken(
    kind: type[pika.SelectConnection], amqp_url: str, sent: Sequence[Outgoing]
) -> list[Delivery]:
    """What a consumer takes of these, which the same kind of connection sends."""
    arrived: list[Delivery] = []
    taker = Consumer([ROUTER_QUEUE], prefetch=100, take=arrived.extend)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(io_thread, "connection_class", lambda: kind)
        one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=taker)
        one.start()
        try:
            assert one.wait_ready(20)
            one.publish(sent)
            settled = 0
            while settled < len(sent):
                until(lambda done=settled: len(arrived) > done)  # type: ignore[misc]
                batch = arrived[settled:]
                one.publish_then_ack([(delivery, ()) for delivery in batch])
                settled += len(batch)
            until(lambda: taker.unfinished() == 0)
        finally:
            one.close()
    with outsider(amqp_url) as program:  # acked: nothing comes back
        assert program.get(ROUTER_QUEUE) is None
    return arrived


@pytest.mark.parametrize("kind", [BatchingConnection, Pieces])
def test_what_is_done_in_one_step_is_what_pika_does(
    kind: type[pika.SelectConnection], amqp_url: str, by_pika: dict[str, set[str]]
) -> None:
    # Given usual and odd messages in turn
    sent = messages()
    # If they go out and come in by our connection
    ours = taken(kind, amqp_url, sent)
    # I expect pika to be asked for the odd ones only
    assert by_pika == {
        "written": {"m1", "m3", "m9", "m10", "m13"},
        "read": {"m1", "m3", "m6", "m9"},
    }
    # and the same deliveries in the same order as by pika's own connection
    assert ours == taken(pika.SelectConnection, amqp_url, sent)
    assert by_pika["read"] == {one.message_id for one in sent}
    assert [(one.message_id, one.body) for one in ours] == [(m.message_id, m.body) for m in sent]
    assert [one.tag for one in ours] == list(range(1, len(sent) + 1))
    for back in ours[2:4]:
        assert (back.exchange, back.routing_key) == ("hitl.events", "item.scored.sentiment")


def test_a_header_that_cannot_be_read_goes_on_as_it_came(amqp_url: str) -> None:
    # Given a message with a header that Python has no value for: a time in the year 100 000
    table = b"\x04when" + b"T" + pack(">Q", 3_093_527_980_800)
    properties = pack(">HL", pika.BasicProperties.FLAG_HEADERS, len(table)) + table
    content = pack(">HHQ", pika.BasicProperties.INDEX, 0, 2) + properties
    arrived: list[Delivery] = []
    taker = Consumer([ROUTER_QUEUE], prefetch=100, take=arrived.extend)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=taker)
    one.start()
    try:
        assert one.wait_ready(20)
        with outsider(amqp_url) as program:
            number = program.channel_number
            program.send(
                frame.Method(number, spec.Basic.Publish(0, "", ROUTER_QUEUE)).marshal(),
                pack(">BHL", spec.FRAME_HEADER, number, len(content)) + content + b"\xce",
                frame.Body(number, b"{}").marshal(),
            )
            # When it is delivered, and another one after it
            program.publish("[]", exchange="", routing_key=ROUTER_QUEUE)
            until(lambda: len(arrived) >= 1)
            one.publish_then_ack([(delivery, ()) for delivery in arrived])
            until(lambda: len(arrived) >= 2)
        # I expect both, on the same connection
        when = ForeignHeader(table[5:], table[5:])
        read = [(each.body, each.headers) for each in arrived]
        assert read == [(b"{}", {"when": when}), (b"[]", {})]
        assert {each.generation for each in arrived} == {1}
    finally:
        one.close()
