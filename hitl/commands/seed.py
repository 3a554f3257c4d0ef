"""`hitl seed FILE`: adds gold items, whose correct label is known, to measure the reviewers."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from hitl.support.database import transaction
from hitl.support.options import WorkflowName
from services.review_ui.tasks import gold
from shared.clock import utc_now
from shared.formats.exported import exported_line
from shared.formats.json_lines import Line, lines_of, numbered
from shared.formats.rows_in import read_rows
from shared.service.settings import Settings
from shared.workflows.files import read_workflow_file, workflow_paths

app = typer.Typer(add_completion=False)


@app.command()
def seed(
    file: Annotated[Path, typer.Argument(help="JSON Lines, or an export.", exists=True)],
    workflow: WorkflowName = "sentiment",
) -> None:
    """Mix gold items into the reviewers' tasks: `{"id", "text", "label", "metadata"?,
    "distribution"?}` a line. The workflow's `seeded_share` is their share of the tasks. Where it
    asks for another answer than a label: `{"id", "text", "answer", "metadata"?}`, and what the item
    brings (`draft`, `candidates`, `action`).

    `distribution` is shown as the AI's; without it the item is shown blind. The files of `hitl
    export labels` can be used as they are, also as .csv, .parquet or a folder.
    """
    with transaction() as session:
        settings = Settings.from_environment(os.environ)
        path = workflow_paths(settings.workflows_dir, [workflow])[workflow]
        flow = read_workflow_file(path).workflow
        known = gold.read(_lines(file), flow)
        added = gold.add(session, workflow, known, utc_now())
    typer.echo(f"{added} gold items added; {len(known) - added} existed already.")
    if flow.review.seeded_share == 0:
        typer.echo("No reviewer gets any while [review] seeded_share is 0.", err=True)


def _lines(file: Path) -> list[Line]:
    """The file's lines; of other formats and of our exports the rows, as JSON Lines."""
    if not file.is_dir() and file.suffix.lower() not in (".csv", ".parquet"):
        lines = list(numbered(lines_of(file.read_bytes())))
        if not any(exported_line(line.content) for line in lines[:1]):
            return lines
    rows = enumerate(read_rows(file), start=1)
    return [Line(number, json.dumps(row).encode()) for number, row in rows]
