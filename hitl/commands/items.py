"""`hitl publish`, `hitl tail`: sends items by hand and follows what is decided about them."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from hitl.support.connection import amqp_url, connected
from hitl.support.item_files import Format, Line, format_of, read_lines
from hitl.support.known_workflows import completed, existing_workflows
from hitl.support.progress import progress_bar
from hitl.support.tail import Decided, Tail, as_json, as_text
from hitl.support.terminal import refuse
from shared.clock import utc_now
from shared.errors import ConfigurationError, Overloaded, Permanent
from shared.events.item_message import BULK_PRIORITY, item_message
from shared.events.models import derive_id
from shared.messages import Outgoing
from shared.service.settings import Settings
from shared.workflows.files import workflow_paths

app = typer.Typer(add_completion=False)

WINDOW_ITEMS = 500  # published and confirmed together
PROBLEMS_SHOWN = 20


@app.command()
def publish(
    file: Annotated[str, typer.Argument(help="A .csv, .jsonl or .txt file, or - for stdin.")],
    workflow: Annotated[
        str, typer.Option(help="Which workflow decides.", autocompletion=completed)
    ] = "sentiment",
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many a second.")] = None,
    format: Annotated[Format | None, typer.Option(help="Else by the file's ending.")] = None,
    text_column: Annotated[str, typer.Option(help="Which column or field is the text.")] = "text",
    id_column: Annotated[str, typer.Option(help="Which one is the id, if any.")] = "id",
    ids_from_content: Annotated[
        bool,
        typer.Option(help="Items without an id get one made of their content: sent twice is once."),
    ] = False,
) -> None:
    """Publish the items of a file. An item without an id gets a new one. Columns and fields that
    are neither text nor id become metadata."""
    errors = Console(stderr=True)
    problems: list[str] = []
    others: dict[str, None] = {}
    published = 0
    try:
        settings = Settings.from_environment(os.environ)
        workflow_paths(settings.workflows_dir, [workflow])
        size = Path(file).stat().st_size if Path(file).is_file() else None  # of a pipe
        with (
            opened(file) as source,
            connected(amqp_url(), "publish") as broker,
            progress_bar("publishing", size) as advance,
        ):
            first = source.readline()
            kind = format or format_of(file, first)
            # A file that is no table is refused before any of it is published; a pipe is read once.
            if file != "-" and source.seekable():
                source.seek(0)
                for _ in read_lines(source, kind, text_column=text_column, id_column=id_column):
                    pass
                source.seek(0)
                first = source.readline()
            lines = count_bytes(chain([first] if first else [], source), advance)
            rows = note_metadata(
                read_lines(lines, kind, text_column=text_column, id_column=id_column), others
            )
            good = acceptable(rows, workflow, settings.max_body_bytes, ids_from_content, problems)
            for window in paced(good, rate):
                broker.publish(window)
                published += len(window)
    except (ConfigurationError, Overloaded) as error:
        refuse(f"{error} ({so_far(published)})" if published else str(error))
    except KeyboardInterrupt:
        refuse(f"stopped: {so_far(published)}", code=130)
    errors.print(f"{published} items published to {workflow}", highlight=False)
    if others:
        errors.print("metadata: " + ", ".join(others), markup=False, highlight=False)
    if problems:
        errors.print(f"{len(problems)} lines were not:", style="red", highlight=False)
        for problem in problems[:PROBLEMS_SHOWN]:
            errors.print(f"  {problem}", markup=False, highlight=False)
        if len(problems) > PROBLEMS_SHOWN:
            errors.print(f"  and {len(problems) - PROBLEMS_SHOWN} more")
        raise typer.Exit(1)


@app.command()
def tail(
    workflow: Annotated[
        str, typer.Option(help="Only this workflow; else all.", autocompletion=completed)
    ] = "*",
    as_objects: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Follow the decisions as they are made, on a queue of its own: nobody loses a message."""
    console = Console(highlight=False)

    def show(event: Decided) -> None:
        if as_objects:
            print(as_json(event), flush=True)
        else:
            console.print(as_text(event), overflow="ellipsis", no_wrap=True)

    def ready() -> None:
        print("following; Ctrl-C ends", file=sys.stderr, flush=True)

    try:
        existing_workflows([] if workflow == "*" else [workflow])
        Tail(workflow, on_decision=show, on_ready=ready).run(amqp_url())
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # Whoever read us has enough; without this Python complains once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ConfigurationError, Overloaded) as error:
        refuse(str(error))


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The file, or standard input for "-"."""
    if file == "-":
        yield sys.stdin.buffer
        return
    if not Path(file).exists() or Path(file).is_dir():
        raise ConfigurationError(f"{file}: {'a folder' if Path(file).is_dir() else 'no such file'}")
    with Path(file).open("rb") as source:
        yield source


def count_bytes(lines: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    """The same lines, counted."""
    for line in lines:
        advance(len(line))
        yield line


def note_metadata(rows: Iterable[Line], others: dict[str, None]) -> Iterator[Line]:
    """The same rows; `others` learns which columns or fields became metadata."""
    for row in rows:
        others.update(dict.fromkeys(row.others))
        yield row


def so_far(published: int) -> str:
    """What to know before the same file is sent again."""
    return (
        f"{published} items were published; sent again, an item with an id is still one item, and "
        "one without is another, unless all was sent with --ids-from-content"
    )


def acceptable(
    rows: Iterable[Line],
    workflow: str,
    max_body_bytes: int,
    ids_from_content: bool,
    problems: list[str],
) -> Iterator[Outgoing]:
    """A message for each line that inference would take; the others are added to `problems`."""
    for row in rows:
        try:
            if row.problem is not None:
                raise Permanent("schema", row.problem)
            yield message(row.body, workflow, max_body_bytes, ids_from_content)
        except Permanent as error:
            problems.append(f"line {row.number}: {error}")


def message(
    body: bytes, workflow: str, max_body_bytes: int, ids_from_content: bool = False
) -> Outgoing:
    """What a producer sends.

    Raises:
        Permanent: inference would dead-letter it for this reason.
    """
    of_content = str(derive_id("published", workflow, body.decode("utf-8", "replace")))
    ready, _ = item_message(
        body,
        workflow,
        max_body_bytes=max_body_bytes,
        clock=utc_now,
        new_id=of_content if ids_from_content else None,
        priority=BULK_PRIORITY,
    )
    return ready


def paced(messages: Iterable[Outgoing], rate: float | None) -> Iterator[list[Outgoing]]:
    """Windows to publish; with a rate, small ones at the time when they are due."""
    size = WINDOW_ITEMS if rate is None else max(1, math.ceil(min(WINDOW_ITEMS, rate / 10)))
    source = iter(messages)
    started = time.monotonic()
    sent = 0
    while window := list(islice(source, size)):
        if rate is not None:
            time.sleep(max(0.0, started + sent / rate - time.monotonic()))
        yield window
        sent += len(window)
