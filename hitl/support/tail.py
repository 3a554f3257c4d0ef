"""Follows decisions on a queue of its own, beside those of the consumers."""

import hashlib
from collections.abc import Callable
from typing import Any

from pika.channel import Channel
from rich.text import Text

from hitl.support.terminal import printable
from shared.errors import Permanent
from shared.events.answered import AnswerAccepted, AnswerReviewed
from shared.events.envelope import decode
from shared.events.models import Event, ItemAccepted, ItemReviewed
from shared.formats.json_lines import line
from shared.messaging.amqp.headers import delivery_of
from shared.messaging.session import Session
from shared.topology import EVENTS

Decided = ItemAccepted | ItemReviewed | AnswerAccepted | AnswerReviewed
KINDS = (ItemAccepted.type, ItemReviewed.type)
BACKLOG_MESSAGES = 10_000  # kept for a slow reader; then this queue drops the oldest
EXCERPT_CHARACTERS = 200
_COLOURS = ("green", "cyan", "magenta", "yellow", "blue", "red")


class Tail:
    """Follows the decisions of one workflow ("*": of all) on the caller's thread."""

    def __init__(
        self, workflow: str, *, on_decision: Callable[[Decided], None], on_ready: Callable[[], None]
    ) -> None:
        self._keys = [f"{kind}.{workflow}" for kind in KINDS]
        self._on_decision = on_decision
        self._on_ready = on_ready
        self._session = Session("tail", self._on_channel)

    def run(self, amqp_url: str) -> None:
        """Follows until a callback or a signal raises.

        Raises:
            Overloaded: no connection, or it was lost; the text says why.
        """
        self._session.run(amqp_url)

    def _on_channel(self, channel: Channel) -> None:
        channel.queue_declare(
            "",
            exclusive=True,
            auto_delete=True,
            arguments={"x-max-length": BACKLOG_MESSAGES},
            callback=lambda declared: self._bind(channel, declared.method.queue, list(self._keys)),
        )

    def _bind(self, channel: Channel, queue: str, keys: list[str]) -> None:
        """One binding after the other, then the messages."""
        if keys:
            key = keys.pop()
            channel.queue_bind(
                queue, EVENTS, key, callback=lambda _ok: self._bind(channel, queue, keys)
            )
            return
        channel.basic_consume(queue, self._on_message, auto_ack=True)
        self._on_ready()

    def _on_message(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        try:
            event: Event = decode(
                delivery_of("", method, properties, body),
                ItemAccepted,
                ItemReviewed,
                AnswerAccepted,
                AnswerReviewed,
            )
        except Permanent:
            return  # invalid: its consumers dead-letter it
        if isinstance(event, Decided):  # for mypy: decode() has seen to it
            try:
                self._on_decision(event)
            except Exception as error:
                self._session.fail(error)


def as_json(event: Decided) -> str:
    """One line: the event with its type."""
    return line({"type": event.type, **event.model_dump(mode="json")}).removesuffix("\n")


def as_text(event: Decided) -> Text:
    """One line for people: time, label, confidence, who decided, text."""
    decision = event.decision
    label = printable(decision.brief)
    by = printable(decision.reviewer or decision.decided_by)
    text = printable(" ".join(event.item.text[:EXCERPT_CHARACTERS].split()))
    sure = "" if decision.confidence is None else f"{decision.confidence:.2f}"
    shown = Text(f"{decision.decided_at.astimezone():%H:%M:%S}  ", style="dim", no_wrap=True)
    shown.append(f"{label:<12.20}", style=f"bold {_colour(decision.brief)}")
    shown.append(f" {sure:>4}  ")
    shown.append(f"{by:<10.20}", style="dim" if decision.decided_by == "ai" else "bold")
    shown.append(f"  {text}", style="default")
    return shown


def _colour(label: str) -> str:
    """Always the same colour for the same label."""
    return _COLOURS[hashlib.sha256(label.encode()).digest()[0] % len(_COLOURS)]
