"""Does the connection with few system calls behave like pika's own, on a real broker?"""

import asyncio
import secrets
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import pika
import pytest
from pika import frame, spec

from shared.messaging.amqp import fast_connection
from shared.messaging.amqp.fast_connection import BatchingConnection, connection_class

Message = tuple[pika.BasicProperties, bytes]
FRAME_BYTES = 131_072 - 8  # of a body, as RabbitMQ negotiates

ODD: list[pika.BasicProperties] = [
    pika.BasicProperties(),
    pika.BasicProperties(headers={}),
    pika.BasicProperties(headers={"": "", "ünïcode": "日本語 🙂", "b": b"\xff\x00", "n": None}),
    pika.BasicProperties(headers={"table": {"of": {"tables": [1, "two", None, {"x": True}]}}}),
    pika.BasicProperties(headers={"at": datetime(2024, 5, 1, 12, tzinfo=UTC), "d": Decimal("1.5")}),
    pika.BasicProperties(headers={"small": -1, "large": 2**62, "yes": True, "s": "text"}),
    pika.BasicProperties(content_encoding="utf-8", priority=3, correlation_id="c", reply_to="r"),
    pika.BasicProperties(
        content_type="application/json", delivery_mode=2, message_id="m" * 255,
        timestamp=1_700_000_000, type="item.scored", app_id="a", expiration="60000",
        headers={f"cloudEvents_{n}": "v" * n for n in range(40)},
    ),
]  # fmt: skip


def run(
    kind: type[pika.SelectConnection],
    amqp_url: str,
    work: Callable[[pika.SelectConnection], None],
    *,
    seconds: float = 30.0,
    parameters: pika.ConnectionParameters | None = None,
) -> list[str]:
    """One connection: `work` when it is open, until it is closed; why it closed."""
    closed: list[str] = []

    def on_closed(connection: Any, reason: object) -> None:
        closed.append(str(reason))
        connection.ioloop.stop()

    connection = kind(
        parameters or pika.URLParameters(amqp_url),
        on_open_callback=work,
        on_open_error_callback=on_closed,
        on_close_callback=on_closed,
    )
    connection.ioloop.call_later(seconds, connection.ioloop.stop)
    connection.ioloop.start()
    connection.ioloop.close()
    assert closed, "it did not end in time"
    return closed


def echo(
    kind: type[pika.SelectConnection],
    amqp_url: str,
    messages: Sequence[Message],
    parameters: pika.ConnectionParameters | None = None,
) -> list[tuple[dict[str, Any], bytes]]:
    """What comes back of these, through a queue."""
    received: list[tuple[dict[str, Any], bytes]] = []
    queue = f"echo-{secrets.token_hex(4)}"

    def on_message(channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        received.append((properties.__dict__, body))
        if len(received) == len(messages):
            channel.connection.close()

    def on_channel(channel: Any) -> None:
        channel.queue_declare(queue, exclusive=True)
        channel.basic_consume(queue, on_message, auto_ack=True)
        for properties, body in messages:
            channel.basic_publish("", queue, body, properties)

    def on_open(connection: Any) -> None:
        connection.channel(on_open_callback=on_channel)

    closed = run(kind, amqp_url, on_open, parameters=parameters)
    assert "Normal shutdown" in closed[0]
    return received


def sent(messages: Sequence[Message]) -> list[tuple[dict[str, Any], bytes]]:
    return [(properties.__dict__, body) for properties, body in messages]


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES, FRAME_BYTES + 1, 2_000_000])
def test_bodies_of_every_size_arrive_whole(amqp_url: str, size: int) -> None:
    # Given several messages of one size, if they go through the broker
    messages = [(pika.BasicProperties(type=f"{n}"), secrets.token_bytes(size)) for n in range(4)]
    # I expect each as it was, in order
    assert echo(BatchingConnection, amqp_url, messages) == sent(messages)


def test_odd_properties_arrive_as_with_pika(amqp_url: str) -> None:
    messages = [(properties, b"{}") for properties in ODD]
    assert echo(BatchingConnection, amqp_url, messages) == echo(
        pika.SelectConnection, amqp_url, messages
    )


class Piecewise(BatchingConnection):
    """Gets what the broker sends in pieces of one byte, or of a few."""

    size = 1

    def _on_data_available(self, data_in: bytes) -> None:
        for start in range(0, len(data_in), self.size):
            super()._on_data_available(data_in[start : start + self.size])


@pytest.mark.parametrize("size", [1, 7, 8, 1_000])
def test_it_does_not_matter_where_a_read_ends(amqp_url: str, size: int) -> None:
    # Given a connection that gets every message in pieces
    kind = type("Pieces", (Piecewise,), {"size": size})
    messages = [(properties, secrets.token_bytes(3_000)) for properties in ODD]
    # I expect the messages whole
    assert echo(kind, amqp_url, messages) == echo(BatchingConnection, amqp_url, messages)


def test_a_message_for_nobody_is_returned_before_it_is_confirmed(amqp_url: str) -> None:
    # Given a message with a routing key that leads nowhere
    heard: list[object] = []

    def on_channel(channel: Any) -> None:
        def on_return(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            heard.append((method.reply_code, method.routing_key, properties.type, body))

        def on_confirm(answer: Any) -> None:
            heard.append(type(answer.method))
            channel.connection.close()

        channel.add_on_return_callback(on_return)
        channel.confirm_delivery(on_confirm)
        channel.basic_publish("", "nobody", b"body", pika.BasicProperties(type="t"), mandatory=True)

    run(BatchingConnection, amqp_url, lambda connection: connection.channel(None, on_channel))
    # I expect it back, whole, and then the confirm
    assert heard == [(312, "nobody", "t", b"body"), spec.Basic.Ack]


def test_a_channel_that_the_broker_closes_leaves_the_others(amqp_url: str) -> None:
    # Given two channels, if one asks for a queue that is not there
    heard: list[object] = []

    def on_open(connection: Any) -> None:
        def on_other(other: Any) -> None:
            def on_closed(_channel: Any, reason: Any) -> None:
                heard.append(reason.reply_code)
                other.queue_declare("", exclusive=True, callback=on_declared)

            def on_first(first: Any) -> None:
                first.add_on_close_callback(on_closed)
                first.queue_declare("not-there", passive=True)

            connection.channel(on_open_callback=on_first)

        def on_declared(answer: Any) -> None:
            heard.append(type(answer.method))
            connection.close()

        connection.channel(on_open_callback=on_other)

    run(BatchingConnection, amqp_url, on_open)
    # I expect the reason there, and the other still at work
    assert heard == [404, spec.Queue.DeclareOk]


def test_a_connection_that_the_broker_closes_says_why(amqp_url: str) -> None:
    # If something comes on a channel that was never opened
    def on_open(connection: Any) -> None:
        connection._send_frame(frame.Method(9, spec.Basic.Get(queue="q")))

    # I expect to hear what was wrong
    assert "504" in run(BatchingConnection, amqp_url, on_open)[0]


class Corrupted(BatchingConnection):
    """Gets a wrong last byte with the answer to what it asks once it is open."""

    def _on_data_available(self, data_in: bytes) -> None:
        super()._on_data_available(data_in[:-1] + b"\x00" if self.is_open else data_in)


def test_a_broken_frame_ends_the_connection(amqp_url: str) -> None:
    # If what arrives is no frame
    ended = run(Corrupted, amqp_url, lambda connection: connection.channel())
    # I expect the end of this connection, not of the program
    assert "FRAME_END" in ended[0]


def test_blocked_and_unblocked_are_heard(amqp_url: str) -> None:
    # If the broker says that it takes nothing, and later that it does again
    heard: list[object] = []

    def on_open(connection: Any) -> None:
        connection.add_on_connection_blocked_callback(
            lambda _connection, answer: heard.append(answer.method.reason)
        )
        connection.add_on_connection_unblocked_callback(lambda *_: connection.close())
        for method in (spec.Connection.Blocked("low on disk"), spec.Connection.Unblocked()):
            connection._on_data_available(frame.Method(0, method).marshal())

    run(BatchingConnection, amqp_url, on_open)
    # I expect both
    assert heard == ["low on disk"]


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_heartbeats_keep_a_connection_up_idle_or_busy(amqp_url: str, busy: bool) -> None:
    # Given a heartbeat of two seconds, and a broker that hangs up after four of silence
    opened = time.monotonic()

    def on_channel(channel: Any) -> None:
        def publish() -> None:
            if not channel.is_open:
                return
            for _ in range(50):
                channel.basic_publish("", "nobody", b"x" * 1_000)
            channel.connection.ioloop.call_later(0.001, publish)

        if busy:
            publish()
        channel.connection.ioloop.call_later(5.5, channel.connection.close)

    closed = run(
        BatchingConnection,
        f"{amqp_url}?heartbeat=2",
        lambda connection: connection.channel(on_open_callback=on_channel),
    )
    # I expect that it lives until it is closed
    assert "Normal shutdown" in closed[0]
    assert time.monotonic() - opened >= 5.5


@contextmanager
def tls_in_front_of(port: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """A port that speaks TLS and hands everything on to `port`; and its certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", str(certificate), "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ready: SimpleQueue[int] = SimpleQueue()
    stop = asyncio.Event()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, plain_writer), pump(plain_reader, writer))

    async def serve() -> None:
        async with await asyncio.start_server(bridge, "127.0.0.1", 0, ssl=context) as server:
            ready.put(server.sockets[0].getsockname()[1])
            await stop.wait()

    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield ready.get(timeout=10), certificate
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def test_messages_come_through_tls(amqp_url: str, tmp_path: Path) -> None:
    # Given a connection over TLS that trusts this certificate only
    plain = pika.URLParameters(amqp_url)
    with tls_in_front_of(plain.port, tmp_path) as (port, certificate):
        parameters = pika.URLParameters(amqp_url)
        parameters.port = port
        parameters.ssl_options = pika.SSLOptions(
            ssl.create_default_context(cafile=str(certificate)), "127.0.0.1"
        )
        messages = [
            (pika.BasicProperties(type="t"), secrets.token_bytes(size))
            for size in (0, 10, 16_384, 16_385, 1_000_000)
        ]
        # I expect every message whole: TLS has records of its own, of 16 KiB
        received = echo(BatchingConnection, amqp_url, messages, parameters)
        assert received == sent(messages)


def test_nothing_of_ours_uses_what_pika_means_to_drop() -> None:
    # Deprecated in 1.5, away in 2.0 (https://github.com/pika/pika/issues/1608)
    dropped = ("BlockingConnection", "TornadoConnection", "TwistedProtocol", "GeventConnection")
    root = Path(fast_connection.__file__).parents[3]
    pages = (root / "docs").rglob("*.md")
    ours = [root / "README.md", *(page for page in pages if page.parent.name != "decisions")]
    ours += [
        file for part in ("hitl", "services", "shared") for file in (root / part).rglob("*.py")
    ]
    assert len(ours) > 100
    assert [file for file in ours if any(word in file.read_text("utf-8") for word in dropped)] == []


def test_another_version_of_pika_gets_its_own_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the version that it was tested with, I expect the fast one
    assert connection_class() is BatchingConnection
    # If pika is another one, or what is overridden is no longer there, I expect pika's own
    with monkeypatch.context() as patched:
        patched.setattr(pika, "__version__", "1.5.0")
        assert connection_class() is pika.SelectConnection
    monkeypatch.setattr(
        fast_connection, "_OVERRIDDEN", (*fast_connection._OVERRIDDEN, "_not_there_any_more")
    )
    assert connection_class() is pika.SelectConnection
