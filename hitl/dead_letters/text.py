"""A dead-lettered message as text and as JSON."""

import base64
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console

from hitl.dead_letters.queues import DeadLetter
from hitl.support.terminal import printable, readable
from shared.events.submissions import excerpt
from shared.messages import OTHERS, plain, short_text
from shared.messaging.retry import ERROR, first_priority

EXCERPT_CHARACTERS = 300


def as_object(message: DeadLetter) -> dict[str, object]:
    """The whole message for programs; a body that is not UTF-8 as base64."""
    delivery = message.delivery
    try:
        body = {"body": delivery.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(delivery.body).decode()}
    failed_at = message.failed_at
    return {
        "queue": message.queue,
        "home": message.home,
        "item_id": message.item_id,
        "reason": message.reason,
        "error": delivery.header(ERROR),
        "failed_at": None if failed_at is None else failed_at.isoformat(),
        "redrives": message.redrives,
        "exchange": delivery.exchange,
        "routing_key": delivery.routing_key,
        "message_id": delivery.message_id,
        "content_type": delivery.content_type,
        "content_encoding": delivery.content_encoding,
        "timestamp": delivery.timestamp,
        "type": delivery.type,
        "priority": first_priority(delivery),
        **{name: (delivery.others or {}).get(name) for name in OTHERS},
        "headers": json.loads(json.dumps(_text_keys(delivery.headers), default=str)),
        **body,
    }


def describe(console: Console, message: DeadLetter, now: datetime) -> None:
    """Prints the message for people."""
    delivery = message.delivery
    failed_at = message.failed_at
    old = "?" if failed_at is None else readable((now - failed_at).total_seconds())
    title = f"{message.queue}  {message.reason}  {message.item_id}  {old} old"
    console.print(printable(title), style="bold")
    headers = ", ".join(
        f"{key}={str(value)[:80]}"
        for key, value in _text_keys(delivery.headers).items()
        if not key.startswith(("x-hitl-", "x-death", "x-first-", "x-last-"))
    )
    lines = {
        "error": delivery.header(ERROR),
        "exchange": delivery.exchange or "-",
        "routing key": delivery.routing_key,
        "requeued": f"{message.redrives} times" if message.redrives else None,
        "headers": headers,
        "text": " ".join(excerpt(delivery)[:EXCERPT_CHARACTERS].split()),
    }
    for title, line in lines.items():
        if line:
            console.print(f"  {title}: {printable(line)}", style="dim" if title != "text" else None)


def _text_keys(headers: Mapping[Any, object]) -> dict[str, object]:
    """The headers, and tables within, by text: a name that is not UTF-8 is bytes."""
    return {short_text(name): _text_keys_within(value) for name, value in headers.items()}


def _text_keys_within(value: object) -> object:
    value = plain(value)
    if isinstance(value, list):
        return [_text_keys_within(entry) for entry in value]
    return _text_keys(value) if isinstance(value, dict) else value
