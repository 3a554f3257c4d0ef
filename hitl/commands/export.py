"""`hitl export`: people's decisions as a file for a notebook or a training."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hitl.support.connection import database_url
from hitl.support.known_workflows import completed, unknown_workflow_hint
from hitl.support.moments import moment
from hitl.support.written_file import written_file
from services.feedback.reports.export import DATASET_FILE, Counted, Wanted, What, dataset_card, rows
from shared.errors import ConfigurationError, HitlError
from shared.formats.rows_out import Format
from shared.storage.database import connect

app = typer.Typer(add_completion=False)


@app.command()
def export(
    what: Annotated[What, typer.Argument(help="What people corrected, decided, or everything.")],
    format: Annotated[
        Literal["csv", "jsonl", "parquet", "hf"],
        typer.Option(help="hf: a folder that the library datasets loads by its path."),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="A file, or a new folder for hf; else standard output.")
    ] = None,
    workflow: Annotated[
        list[str] | None, typer.Option(help="Of these only.", autocompletion=completed)
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="With these labels only.")] = None,
    reviewer: Annotated[list[str] | None, typer.Option(help="Decided by these only.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help="UTC, the time included.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="TIME", help="UTC, the time excluded.")
    ] = None,
) -> None:
    """Write corrections, labels or events with what the AI had said, context and versions.

    `labels` are all decisions of people, `corrections` those that changed the AI's label; both have
    the columns input_text and correct_label. In CSV, a text that a spreadsheet would take for a
    formula has an apostrophe in front; the other formats are exact.
    """
    wanted = Wanted(what, workflow or (), label or (), reviewer or (), since, until)
    if format == "hf" and out is None:
        raise typer.BadParameter("hf is a folder: name it with --out", param_hint="--out")
    if format == "hf" and out is not None and out.exists() and any(out.iterdir()):
        raise typer.BadParameter(f"{out} is not empty", param_hint="--out")
    form: Format = "parquet" if format == "hf" else format
    file = out / DATASET_FILE if format == "hf" and out is not None else out
    counted = Counted()
    try:
        engine = connect(database_url(os.environ), pool_size=1, application="hitl-export")
        try:
            with _opened(file) as into, _shown(file, counted) as tell:
                for piece in rows(engine, wanted, form, counted):
                    into.write(piece)
                    tell()
                if format == "hf" and not counted.rows:
                    raise ConfigurationError(
                        "no rows, so no folder: the library datasets loads no empty one"
                    )
        finally:
            engine.dispose()
    except BrokenPipeError:  # whoever read it has read enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (HitlError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if format == "hf" and out is not None:
        (out / "README.md").write_text(dataset_card(wanted, counted.rows, datetime.now(UTC)))
    where = f" in {out}" if out is not None else ""
    remark = "" if counted.rows else unknown_workflow_hint(workflow)
    typer.echo(f"{counted.rows} {what}{where}.{remark}", err=True)


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    """The file under its own name only once it is whole; standard output as it comes."""
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with written_file(file) as into:
        yield into


@contextmanager
def _shown(file: Path | None, counted: Counted) -> Iterator[Callable[[], None]]:
    """A line with the count, where somebody looks and the rows go elsewhere."""
    console = Console(stderr=True)
    if file is None or not console.is_terminal:
        yield lambda: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda: bar.update(task, completed=counted.rows)
