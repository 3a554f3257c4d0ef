"""The picture in CONTRIBUTING.md of a message's walk, from bytes to ack, drawn from the code.

`python -m tests.support.message_walk` writes it. Each step is a function of the product, and each
arrow is held against its source: a step that is renamed, or no longer calls the next, is an error.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from services.router.handler import Router
from shared.events.envelope import decode, enclose
from shared.messaging.amqp.fast_connection import BatchingConnection
from shared.messaging.amqp.read import read_delivery
from shared.messaging.amqp.templates import Reader
from shared.messaging.amqp.write import write_message
from shared.messaging.channels import Channels
from shared.messaging.confirms import AckWindow, Confirms
from shared.messaging.connection import Broker
from shared.messaging.consumer import Consumer
from shared.messaging.failures import Failures
from shared.messaging.publisher import Publisher
from shared.messaging.retry import restore_origins
from shared.messaging.worker import Worker

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- python -m tests.support.message_walk -->\n", "<!-- end of the walk -->"


class Stale(Exception):
    """The picture says what the code does not."""


class Part(NamedTuple):
    """Steps that belong together."""

    title: str
    steps: tuple[Callable[..., Any], ...]


class Arrow(NamedTuple):
    """One step leads to the next. `by` is what the first one's source calls, where that is not the
    next one's own name; empty where a thread, or RabbitMQ, is between."""

    first: Callable[..., Any]
    then: Callable[..., Any]
    label: str = ""
    by: str | None = None


PARTS = (
    Part(
        "I/O thread: bytes → Delivery",
        (
            BatchingConnection._on_data_available,
            Reader.read_known,
            Reader.read,
            read_delivery,
            Consumer._arrive,
            AckWindow.delivered,
            restore_origins,
        ),
    ),
    Part(
        "Worker: Delivery → Outgoing",
        (
            Worker._work,
            Worker._handle,
            Worker._attempt,
            Router.handle,
            Router._handle,
            decode,
            enclose,
            Worker._publish_results,
            Failures.outputs,
        ),
    ),
    Part(
        "I/O thread: Outgoing → bytes",
        (
            Broker._publish_then_ack,
            Publisher.send,
            Confirms.sent,
            BatchingConnection.publish,
            write_message,
        ),
    ),
    Part(
        "I/O thread: confirm → ack",
        (
            Publisher.on_confirm,
            Confirms.answered,
            Publisher._confirmed,
            Channels.mark_ackable,
            Consumer.mark_ackable,
            AckWindow.resolve_tag,
            Consumer._turn,
            Consumer._ack,
            AckWindow.advance,
        ),
    ),
)
ARROWS = (
    Arrow(BatchingConnection._on_data_available, Reader.read_known, "like the last ones"),
    Arrow(BatchingConnection._on_data_available, Reader.read, "new to us"),
    Arrow(Reader.read, read_delivery),
    Arrow(BatchingConnection._on_data_available, Consumer._arrive, "deliveries", by="take"),
    Arrow(Consumer._arrive, AckWindow.delivered, "tags"),
    Arrow(Consumer._arrive, restore_origins),
    Arrow(Consumer._arrive, Worker._work, "once a turn of the loop", by="_schedule_turn"),
    Arrow(Worker._work, Worker._handle),
    Arrow(Worker._handle, Worker._attempt, "a batch, in halves where it fails", by="_checked"),
    Arrow(Worker._attempt, Router.handle),
    Arrow(Router.handle, Router._handle),
    Arrow(Router._handle, decode, "body → event"),
    Arrow(Router._handle, enclose, "decision → message"),
    Arrow(Worker._work, Worker._publish_results, "results"),
    Arrow(Worker._publish_results, Failures.outputs, "what failed: retry or dead letter"),
    Arrow(Worker._publish_results, Broker._publish_then_ack, by="publish_then_ack"),
    Arrow(Broker._publish_then_ack, Publisher.send, "outputs"),
    Arrow(Broker._publish_then_ack, Channels.mark_ackable, "no outputs"),
    Arrow(Publisher.send, Confirms.sent, "numbers"),
    Arrow(Publisher.send, BatchingConnection.publish),
    Arrow(BatchingConnection.publish, write_message),
    Arrow(write_message, Publisher.on_confirm, "RabbitMQ confirms, or returns", by=""),
    Arrow(Publisher.on_confirm, Confirms.answered, "numbers"),
    Arrow(Publisher.on_confirm, Publisher._confirmed),
    Arrow(Publisher._confirmed, Channels.mark_ackable, "all outputs of a delivery are safe",
          by="_outputs_confirmed"),
    Arrow(Channels.mark_ackable, Consumer.mark_ackable),
    Arrow(Consumer.mark_ackable, AckWindow.resolve_tag, "tag"),
    Arrow(Consumer.mark_ackable, Consumer._turn, "once a turn of the loop", by="_schedule_turn"),
    Arrow(Consumer._turn, Consumer._ack),
    Arrow(Consumer._ack, AckWindow.advance, "up to which tag"),
)  # fmt: skip


def names_in(step: Callable[..., Any]) -> set[str]:
    """Every name and attribute that a function's source uses."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(step)))
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }


def check(arrows: tuple[Arrow, ...] = ARROWS) -> None:
    """Whether each arrow is in the code.

    Raises:
        Stale: names the first that is not.
    """
    for first, then, _, by in arrows:
        called = then.__name__ if by is None else by
        if called and called not in names_in(first):
            raise Stale(f"{first.__qualname__} no longer calls {called}: draw the walk anew")


def render() -> str:
    """The picture, as a block of Mermaid for Markdown.

    Raises:
        Stale: the code is no longer as it is drawn.
    """
    check()
    return "\n".join(("```mermaid", "flowchart TD", *_lines(), "```", ""))


def _lines() -> Iterator[str]:
    keys = {step: f"s{n}" for n, step in enumerate(s for part in PARTS for s in part.steps)}
    for number, part in enumerate(PARTS):
        yield f'  subgraph p{number}["{part.title}"]'
        for step in part.steps:
            yield f'    {keys[step]}["<b>{step.__qualname__}</b><br/>{_file(step)}"]'
        yield "  end"
    for first, then, label, _ in ARROWS:
        yield f"  {keys[first]} -->{f'|{label}|' if label else ''} {keys[then]}"


def _file(step: Callable[..., Any]) -> str:
    path = inspect.getsourcefile(inspect.unwrap(step))
    return str(Path(path or "").relative_to(ROOT))


def written(page: str) -> str:
    """The block that stands in a page.

    Raises:
        ValueError: it has no such place.
    """
    start = page.index(BEGIN) + len(BEGIN)
    return page[start : page.index(END, start)]


def main() -> None:
    """Writes the picture into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page[: page.index(BEGIN)], page[page.index(END) :]
    PAGE.write_text(f"{before}{BEGIN}{render()}{after}", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except Stale as error:
        sys.exit(str(error))
