"""Which items, whose right label is known, measure the reviewers? `hitl seed FILE`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hitl.known_workflows import completed
from hitl.transaction import transaction
from services.review_ui import seeded
from shared.clock import utc_now
from shared.json_lines import lines_of, numbered
from shared.settings import Settings
from shared.workflows import Workflow, read_workflow_file, workflow_paths

app = typer.Typer(add_completion=False)


@app.command()
def seed(
    file: Annotated[Path, typer.Argument(help="JSON lines.", exists=True, dir_okay=False)],
    workflow: Annotated[
        str, typer.Option(help="Whose reviewers they measure.", autocompletion=completed)
    ] = "sentiment",
) -> None:
    """Mix known items into the reviewers' work: `{"id", "text", "label", "metadata"?,
    "distribution"?}` a line. How many of those handed out they are: [review] seeded_share.

    `distribution` is what the AI is shown to think of it; without, the item is shown blind.
    """
    with transaction() as session:
        flow = _workflow(workflow)
        known = seeded.read(numbered(lines_of(file.read_bytes())), flow)
        added = seeded.add(session, workflow, known, utc_now())
    typer.echo(f"{added} known items added; {len(known) - added} were there already.")
    if flow.review.seeded_share == 0:
        typer.echo("None is handed out while [review] seeded_share is 0.", err=True)


def _workflow(name: str) -> Workflow:
    settings = Settings.from_environment(os.environ)
    path = workflow_paths(settings.workflows_dir, [name])[name]
    return read_workflow_file(path).workflow
