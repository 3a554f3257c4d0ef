"""`hitl export`: people's decisions as a file for a notebook or a training."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import typer

from hitl.support.database import engine, errors_as_one_line
from hitl.support.known_workflows import completed, unknown_workflow_hint
from hitl.support.options import Since, Until
from hitl.support.progress import spinner
from hitl.support.terminal import reader_may_stop
from hitl.support.written_file import written_file
from services.feedback.reports.export import DATASET_FILE, Counted, Wanted, What, dataset_card, rows
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.formats.peers.registry import PEERS, PeerFormat
from shared.formats.rows_out import Format

app = typer.Typer(add_completion=False)


@app.command()
def export(
    what: Annotated[
        What, typer.Argument(help="Corrections, all decisions of people, or all events.")
    ],
    format: Annotated[
        Literal["csv", "jsonl", "parquet", "hf", "label-studio", "doccano", "prodigy", "conll"],
        typer.Option(
            help="hf: a folder for Hugging Face's datasets.load_dataset; of the last four one "
            "kind of answers a file."
        ),
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(help="A file, or a new folder for hf; default: standard output.")
    ] = None,
    workflow: Annotated[
        list[str] | None, typer.Option(help="Only these workflows.", autocompletion=completed)
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only these labels.")] = None,
    reviewer: Annotated[list[str] | None, typer.Option(help="Only these reviewers.")] = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write corrections, labels or events with the AI's answer, context and versions.

    `labels` are all decisions of people, `corrections` those that changed the AI's answer; both
    have the columns input_text and correct_label, and the whole answer as JSON. In CSV, a text that
    a spreadsheet would take for a formula has an apostrophe in front; the other formats are exact.
    """
    wanted = Wanted(what, workflow or (), label or (), reviewer or (), since, until)
    form: Format | PeerFormat = "parquet" if format == "hf" else format
    if what == "events" and form in PEERS:
        raise typer.BadParameter(f"{format} has no words for events", param_hint="--format")
    folder, file = None, out
    if format == "hf":
        if out is None:
            raise typer.BadParameter("hf is a folder: name it with --out", param_hint="--out")
        if out.exists() and any(out.iterdir()):
            raise typer.BadParameter(f"{out} is not empty", param_hint="--out")
        folder, file = out, out / DATASET_FILE
    counted = Counted()
    with (
        errors_as_one_line(),
        reader_may_stop(),
        engine("hitl-export") as database,
        _opened(file) as into,
        spinner("exporting") if file else nullcontext(lambda _: None) as show,
    ):
        for piece in rows(database, wanted, form, counted):
            into.write(piece)
            show(f"{counted.rows:,} rows")
        if folder and not counted.rows:
            raise ConfigurationError(
                "no rows, so no folder: the library datasets cannot load an empty one"
            )
    if folder:
        (folder / "README.md").write_text(dataset_card(wanted, counted.rows, utc_now()))
    where = f" in {out}" if out is not None else ""
    remark = "" if counted.rows else unknown_workflow_hint(workflow)
    typer.echo(f"{counted.rows} {what}{where}.{remark}", err=True)
    if counted.erased:
        typer.echo(f"Without {counted.erased} items whose text was erased.", err=True)


@contextmanager
def _opened(file: Path | None) -> Iterator[BinaryIO]:
    """The file, under its own name once it is complete; without one, standard output."""
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with written_file(file) as into:
        yield into
