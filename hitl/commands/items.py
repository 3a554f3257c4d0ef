"""`hitl publish`, `hitl tail`: sends items by hand and follows what is decided about them."""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console

from hitl.support.connection import amqp_url, connected
from hitl.support.database import errors_as_one_line
from hitl.support.item_files import Format, Line, Wanted, format_of, read_folder, read_lines
from hitl.support.known_workflows import completed, existing_workflows
from hitl.support.options import AsJsonLines, WorkflowName
from hitl.support.progress import progress_bar
from hitl.support.tail import Decided, Tail, as_json, as_text
from hitl.support.terminal import reader_may_stop, refuse
from shared.answers.base import AnswerSpec
from shared.clock import utc_now
from shared.errors import ConfigurationError, Overloaded, Permanent
from shared.events.item_message import BULK_PRIORITY, item_message
from shared.events.models import derive_id
from shared.messages import Outgoing
from shared.service.settings import Settings
from shared.workflows.files import read_workflow_file, workflow_paths

app = typer.Typer(add_completion=False)

WINDOW_ITEMS = 500  # published and confirmed together
PROBLEMS_SHOWN = 20


@app.command()
def publish(
    file: Annotated[str, typer.Argument(help="A file, a dataset's folder, or - for stdin.")],
    workflow: WorkflowName = "sentiment",
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many a second.")] = None,
    format: Annotated[Format | None, typer.Option(help="Default: by the file's ending.")] = None,
    text_column: Annotated[str, typer.Option(help="The column or field with the text.")] = "text",
    id_column: Annotated[str, typer.Option(help="The column or field with the id.")] = "id",
    ids_from_content: Annotated[
        bool, typer.Option(help="Derive missing ids from the content: sent twice, it is one item.")
    ] = False,
    answers_as: Annotated[
        str | None,
        typer.Option(help="Send answers of people as sure predictions of this model version."),
    ] = None,
) -> None:
    """Publish the items of a file. An item without an id gets a new one. Columns and fields that
    are none of an item's become metadata. The files of `hitl export` can be used as they are."""
    errors = Console(stderr=True, highlight=False, markup=False)
    problems: list[str] = []
    metadata: dict[str, None] = {}
    unsent: Counter[str] = Counter()
    published = 0
    try:
        settings = Settings.from_environment(os.environ)
        path = workflow_paths(settings.workflows_dir, [workflow])[workflow]
        spec = read_workflow_file(path).workflow.spec
        size = Path(file).stat().st_size if Path(file).is_file() else None  # of a pipe
        with (
            opened(file) as source,
            connected(amqp_url(), "publish") as broker,
            progress_bar("publishing", size) as advance,
        ):
            wanted = Wanted(spec, text_column, id_column, answers_as)
            rows = noted(items_of(file, source, format, wanted, advance), metadata, unsent)
            limit = settings.max_body_bytes
            good = messages(rows, workflow, spec, limit, ids_from_content, problems)
            for window in paced(good, rate):
                broker.publish(window)
                published += len(window)
    except (ConfigurationError, Overloaded) as error:
        refuse(f"{error} ({resume_hint(published)})" if published else str(error))
    except KeyboardInterrupt:
        refuse(f"stopped: {resume_hint(published)}", code=130)
    errors.print(f"{published} items published to {workflow}")
    if metadata:
        errors.print("metadata: " + ", ".join(metadata))
    if unsent:
        errors.print(f"in the file, and not sent: {', '.join(map(_counted, unsent.items()))}")
    if problems:
        errors.print(f"{len(problems)} refused:", style="red")
        for problem in problems[:PROBLEMS_SHOWN]:
            errors.print(f"  {problem}")
        if len(problems) > PROBLEMS_SHOWN:
            errors.print(f"  and {len(problems) - PROBLEMS_SHOWN} more")
        raise typer.Exit(1)


@app.command()
def tail(
    workflow: Annotated[
        str, typer.Option(help="Only this workflow; default: all.", autocompletion=completed)
    ] = "*",
    as_objects: AsJsonLines = False,
) -> None:
    """Follow the decisions as they are made, on a queue of its own: no consumer loses a message."""
    console = Console(highlight=False)

    def show(event: Decided) -> None:
        if as_objects:
            print(as_json(event), flush=True)
        else:
            console.print(as_text(event), overflow="ellipsis", no_wrap=True)

    def ready() -> None:
        print("following; Ctrl-C ends", file=sys.stderr, flush=True)

    try:
        with errors_as_one_line(), reader_may_stop():
            existing_workflows([] if workflow == "*" else [workflow])
            Tail(workflow, on_decision=show, on_ready=ready).run(amqp_url())
    except KeyboardInterrupt:
        return


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """The file, or standard input for "-"."""
    if file == "-":
        yield sys.stdin.buffer
        return
    if not Path(file).exists():
        raise ConfigurationError(f"{file}: no such file")
    if Path(file).is_dir():
        if next(Path(file).rglob("*.parquet"), None) is None:
            raise ConfigurationError(f"{file}: a folder without a .parquet file")
        yield BytesIO()
        return
    with Path(file).open("rb") as source:
        yield source


def items_of(
    file: str,
    source: BinaryIO,
    format: Format | None,
    wanted: Wanted,
    advance: Callable[[int], None],
) -> Iterator[Line]:
    """The file's items. A malformed file is refused before its first; a pipe can be read only once.

    Raises:
        ConfigurationError: its format is unknown, or it does not have that format.
    """
    first = source.readline()
    kind = format or format_of(file, first)
    if file != "-" and (Path(file).is_dir() or kind in ("parquet", "hf")):
        for _ in read_folder(Path(file), wanted):
            pass
        yield from read_folder(Path(file), wanted)
        return
    if file != "-" and source.seekable():
        source.seek(0)
        for _ in read_lines(source, kind, wanted):
            pass
        source.seek(0)
        first = source.readline()

    def lines() -> Iterator[bytes]:
        for line in chain([first] if first else [], source):
            advance(len(line))
            yield line

    yield from read_lines(lines(), kind, wanted)


def noted(rows: Iterable[Line], metadata: dict[str, None], unsent: Counter[str]) -> Iterator[Line]:
    """The same; the columns or fields that become metadata are added to `metadata`, and what else
    the records hold to `unsent`."""
    for row in rows:
        metadata.update(dict.fromkeys(row.others))
        unsent.update(row.unsent)
        yield row


def _counted(item: tuple[str, int]) -> str:
    what, count = item
    return f"{count} {what} of people" if what == "answers" else f"{count} {what}"


def resume_hint(published: int) -> str:
    """What to know before the same file is published again."""
    return (
        f"{published} items were published; sent again, an item with an id is still one item, and "
        "one without is another, unless all was sent with --ids-from-content"
    )


def messages(
    rows: Iterable[Line],
    workflow: str,
    spec: AnswerSpec,
    max_body_bytes: int,
    ids_from_content: bool,
    problems: list[str],
) -> Iterator[Outgoing]:
    """A message for each line that inference would accept; the others are added to `problems`."""
    for row in rows:
        text = row.body.decode("utf-8", "replace")
        try:
            if row.problem is not None:
                raise Permanent("schema", row.problem)
            ready, _ = item_message(
                row.body,
                workflow,
                max_body_bytes=max_body_bytes,
                clock=utc_now,
                new_id=str(derive_id("published", workflow, text)) if ids_from_content else None,
                priority=BULK_PRIORITY,
                spec=spec,
            )
        except Permanent as error:
            problems.append(f"{row.what} {row.number}: {error}")
        else:
            yield ready


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
