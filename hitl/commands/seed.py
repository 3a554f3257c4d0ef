"""`hitl seed FILE`: adds gold items, whose right label is known, to measure the reviewers."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from hitl.support.database import transaction
from hitl.support.known_workflows import completed
from services.review_ui.tasks import gold
from shared.clock import utc_now
from shared.formats.exported import exported_line
from shared.formats.json_lines import Line, lines_of, numbered
from shared.formats.rows_in import read_rows
from shared.service.settings import Settings
from shared.workflows.files import Workflow, read_workflow_file, workflow_paths

app = typer.Typer(add_completion=False)


@app.command()
def seed(
    file: Annotated[Path, typer.Argument(help="JSON lines, or an export of ours.", exists=True)],
    workflow: Annotated[
        str, typer.Option(help="Whose reviewers they measure.", autocompletion=completed)
    ] = "sentiment",
) -> None:
    """Mix gold items into the reviewers' work: `{"id", "text", "label", "metadata"?,
    "distribution"?}` a line. How many of those handed out they are: [review] seeded_share.

    `distribution` is what the AI is shown to think of it; without, the item is shown blind. The
    files of `hitl export labels` are taken as they are, also as .csv, .parquet or a folder.
    """
    with transaction() as session:
        flow = _workflow(workflow)
        known = gold.read(_lines(file), flow)
        added = gold.add(session, workflow, known, utc_now())
    typer.echo(f"{added} gold items added; {len(known) - added} were there already.")
    if flow.review.seeded_share == 0:
        typer.echo("None is handed out while [review] seeded_share is 0.", err=True)


def _lines(file: Path) -> list[Line]:
    """The file's lines; of other formats and of our exports the rows, as such lines."""
    if not file.is_dir() and file.suffix.lower() not in (".csv", ".parquet"):
        lines = list(numbered(lines_of(file.read_bytes())))
        if not any(exported_line(line.content) for line in lines[:1]):
            return lines
    rows = enumerate(read_rows(file), start=1)
    return [Line(number, json.dumps(row).encode()) for number, row in rows]


def _workflow(name: str) -> Workflow:
    settings = Settings.from_environment(os.environ)
    path = workflow_paths(settings.workflows_dir, [name])[name]
    return read_workflow_file(path).workflow
