"""An AMQP client that is not ours: a producer and a consumer on py-amqp; and `until`, which waits.

Used wherever a test wants to look at the broker from outside, without this project's code.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import amqp


@dataclass(frozen=True)
class Received:
    """A message as it lay in a queue."""

    body: bytes
    headers: dict[str, Any]
    message_id: str | None
    routing_key: str
    persistent: bool
    redelivered: bool
    properties: dict[str, Any]


class Outsider:
    """One connection with one confirming channel."""

    def __init__(self, amqp_url: str) -> None:
        parts = urlsplit(amqp_url)
        self._connection = amqp.Connection(
            host=f"{parts.hostname}:{parts.port}",
            userid=unquote(parts.username or "guest"),
            password=unquote(parts.password or "guest"),
            virtual_host=unquote(parts.path.lstrip("/")) or "/",
            confirm_publish=True,
        )
        self._connection.connect()
        self._channel = self._connection.channel()

    def publish(
        self,
        body: bytes | str,
        *,
        exchange: str = "hitl.items",
        routing_key: str = "sentiment",
        **properties: Any,
    ) -> None:
        """Publish persistently and wait for the confirm."""
        headers = properties.pop("headers", {})
        message = amqp.Message(body, delivery_mode=2, application_headers=headers, **properties)
        self._channel.basic_publish_confirm(message, exchange=exchange, routing_key=routing_key)

    @property
    def channel_number(self) -> int:
        return int(self._channel.channel_id)

    def send(self, *frames: bytes) -> None:
        """Bytes as they are, for what no client would write."""
        self._connection.transport.write(b"".join(frames))

    def get(self, queue: str) -> Received | None:
        """Take one message off a queue, for good."""
        message = self._channel.basic_get(queue, no_ack=True)
        if message is None:
            return None
        body = message.body
        return Received(
            body=body.encode() if isinstance(body, str) else bytes(body),
            headers=dict(message.properties.get("application_headers") or {}),
            message_id=message.properties.get("message_id"),
            routing_key=message.delivery_info["routing_key"],
            persistent=message.properties.get("delivery_mode") == 2,
            redelivered=message.delivery_info["redelivered"],
            properties=dict(message.properties),
        )

    def drain(self, queue: str) -> list[Received]:
        """Take everything that is ready."""
        found = []
        while (message := self.get(queue)) is not None:
            found.append(message)
        return found

    def take(self, queue: str, count: int, *, seconds: float = 20.0) -> list[Received]:
        """Take exactly `count`, waiting for them; fails with what there was."""
        found: list[Received] = []
        deadline = time.monotonic() + seconds
        while len(found) < count and time.monotonic() < deadline:
            found += self.drain(queue)
            if len(found) < count:
                time.sleep(0.05)
        assert len(found) == count, f"{len(found)} of {count} messages in {queue}"
        return found

    def hold(self, queue: str, count: int) -> None:
        """Take `count` deliveries and never ack them: they come back when the connection ends."""
        held: list[amqp.Message] = []
        self._channel.basic_qos(0, count, False)
        self._channel.basic_consume(queue, callback=held.append)
        while len(held) < count:
            self._connection.drain_events(timeout=10)

    def give_back(self, queue: str) -> None:
        """Take one message and hand it back to its queue."""
        until(lambda: self.ready(queue) > 0)
        message = self._channel.basic_get(queue)
        requeue = (message.delivery_tag, False, True)
        self._channel.send_method(amqp.spec.Basic.Nack, "Lbb", requeue)

    def ready(self, queue: str) -> int:
        """How many messages wait in a queue."""
        return int(self._channel.queue_declare(queue, passive=True).message_count)

    def consumers(self, queue: str) -> int:
        """How many take from a queue."""
        return int(self._channel.queue_declare(queue, passive=True).consumer_count)

    def exists(self, queue: str) -> bool:
        """Whether there is such a queue."""
        try:
            with self._connection.channel() as channel:  # its end is the broker's way to say no
                channel.queue_declare(queue, passive=True)
        except amqp.NotFound:
            return False
        return True

    def declare(self, queue: str, **arguments: Any) -> None:
        """A durable queue of one's own."""
        self._channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)

    def delete(self, queue: str) -> None:
        """Remove a queue with what is in it."""
        self._channel.queue_delete(queue)

    def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        """Bind a queue."""
        self._channel.queue_bind(queue, exchange, routing_key)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def outsider(amqp_url: str) -> Iterator[Outsider]:
    """An outside program for the length of the block."""
    program = Outsider(amqp_url)
    try:
        yield program
    finally:
        program.close()


def until(
    true: Callable[[], bool], *, seconds: float = 20.0, what: str = "what was expected"
) -> None:
    """Wait for something to become true; fails in words when it does not."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
