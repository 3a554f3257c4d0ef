"""`hitl workflow new|list|check|…`: makes, lists, checks and draws workflows."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hitl.support import mermaid
from hitl.support.connection import amqp_url
from hitl.support.database import errors_as_one_line
from hitl.support.known_workflows import completed, paths
from hitl.support.loaded import served_by
from hitl.support.workflow_new import (
    checked_kind,
    checked_labels,
    checked_name,
    model_of,
    render,
    schema_text,
    written_last,
)
from services.router.policy import Policy
from shared.answers.base import KINDS, Kind
from shared.errors import ConfigurationError, HitlError
from shared.messaging.connection import declare_all
from shared.release import WORKFLOWS, is_wheel
from shared.service.settings import Settings
from shared.topology import topology
from shared.workflows.files import read_workflow_file

DECLARE_SECONDS = 10.0
NEXT = """Next:
  send items      exchange hitl.items, routing key {name}; or `hitl publish --workflow {name} …`
  choose who      `hitl reviewer add NAME --workflow {name}`; who has no --workflow sees them all
  take decisions  from the queue hitl.{name}.accepted
  see it          `hitl workflow list`, the workflow {name} on the review page and the dashboards"""
RELOADED = (
    "Running services reload a saved file within two seconds; a changed model or changed labels of"
    " a workflow that they already serve take effect at their next start."
)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make, list, check and draw the workflows."
)


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names or .toml files; default: all.", autocompletion=completed),
    ] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Also load each model, as the worker does.")
    ] = False,
) -> None:
    """Print every problem of the files; exit code 1 if there is one."""
    with errors_as_one_line():
        chosen = paths(names or [])
    bad = 0
    for path in chosen:
        try:
            content = read_workflow_file(path)
            flow, policy = content.workflow, Policy.of_file(content, path)
        except ConfigurationError as error:
            print(error, file=sys.stderr)
            bad += 1
        else:
            rules = f"{len(policy.rules)} rule{'' if len(policy.rules) == 1 else 's'}"
            asks = "" if flow.answer == "label" else f"answers of kind {flow.answer}; "
            print(f"{path}: valid; {asks}policy {policy.version}, {rules}")
            if load:
                bad += not _loads(path)
    if not load:
        print("The models were not loaded: --load does, as the worker will.")
    if bad:
        raise typer.Exit(1)
    print(RELOADED)


def _loads(path: Path) -> bool:
    """Whether the worker could serve it; prints what it would serve, or why not."""
    try:
        print(f"  {served_by(read_workflow_file(path).workflow)}")
    except ConfigurationError as error:
        print(f"{path}: its model cannot be served: {error}", file=sys.stderr)
        return False
    return True


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of a to z, 0 to 9, - and _; also the routing key.")],
    answer: Annotated[
        str, typer.Option(help=f"What is asked for: {', '.join(KINDS)}.", metavar="KIND")
    ] = "label",
    labels: Annotated[str, typer.Option(help="Separated by commas; default: the model's.")] = "",
    model: Annotated[
        str,
        typer.Option(
            help="A folder, a hub id, embedded (the default for a label), or none (for the others)."
        ),
    ] = "",
    guideline: Annotated[str, typer.Option(help="What reviewers are told.")] = "",
) -> None:
    """Write the file of a new workflow, every key explained, for a form its schema, and declare
    its queues.

    Running services pick it up within seconds; none is restarted.
    """
    with errors_as_one_line():
        settings = Settings.from_environment(os.environ)
        if is_wheel() and settings.workflows_dir == WORKFLOWS:
            raise ConfigurationError(
                f"{WORKFLOWS} is replaced by every upgrade: set HITL_WORKFLOWS_DIR, here and for"
                " the services, to a folder of yours with a copy of the files you want to keep"
            )
        path = settings.workflows_dir / f"{checked_name(name)}.toml"
        if path.exists():
            raise ConfigurationError(
                f"{path} exists already; `hitl workflow check {name}` checks it"
            )
        kind = checked_kind(answer)
        if model and Path(model).is_dir():
            model = str(Path(model).resolve())
        model = model_of(kind, model)
        wanted = [label.strip() for label in labels.split(",") if label.strip()]
        chosen = checked_labels(model, wanted, kind)
        text = render(name, chosen, model, guideline, kind=kind)
        examples = _examples(kind, path.with_suffix(".schema.json"), chosen, wanted)
        # Before the file: a service that sees it looks for the queues, and may not declare them.
        with written_last(path, text, schema_text(kind)):
            declared = _declare(name, settings)
        print(f"Wrote {path}.\n{examples}{declared}")
    if settings.workflows and name not in settings.workflows:
        print(f"Not in HITL_WORKFLOWS: add {name} to it and restart the services.")
    print(NEXT.format(name=name))


def _examples(kind: Kind, schema: Path, labels: Sequence[str], wanted: Sequence[str]) -> str:
    """What to say of what nobody has asked for as it is written."""
    if schema_text(kind) is not None:
        there = "was there already" if schema.exists() else "is an example: make it yours"
        return f"Its schema {schema} {there}.\n"
    if labels and not wanted and kind != "label":
        return f"Its labels are an example, make them yours: {', '.join(labels)}.\n"
    return ""


def _declare(name: str, settings: Settings) -> str:
    """Declares its queues on the broker known here; returns what to print about it."""
    try:
        refused = declare_all(
            amqp_url(),
            topology((name,), settings.retry_delays_seconds),
            timeout_seconds=DECLARE_SECONDS,
        )
    except HitlError as error:
        return f"Its queues are not declared yet: `hitl prepare` or `hitl up` does that. ({error})"
    if refused:
        return f"Its queues cannot be declared: {refused[name]}"
    return f"Declared its queues: hitl.{name}.inference and the ones that follow it."


@app.command("list")
def list_workflows() -> None:
    """Show every workflow, the invalid ones too."""
    table = Table("Name", "Asks for", "Model", "Decides by", "State")
    with errors_as_one_line():
        chosen = paths([])
    for path in chosen:
        try:
            content = read_workflow_file(path)
            flow, policy = content.workflow, Policy.of_file(content, path)
        except ConfigurationError as error:
            table.add_row(path.stem, "", "", "", str(error))
        else:
            labels = ", ".join(flow.labels) or ("the model's" if flow.has_model else "")
            asks = labels if flow.answer == "label" else f"{flow.answer}: {labels}".rstrip(": ")
            decides = f"{policy.mode} {policy.threshold:g}"
            table.add_row(path.stem, asks, flow.model, decides, "valid")
    Console(markup=False).print(table)


@app.command()
def diagram(
    name: Annotated[
        str, typer.Argument(help="A workflow's name or .toml file.", autocompletion=completed)
    ] = "sentiment",
) -> None:
    """Draw the flow of a workflow's items as a Mermaid flowchart."""
    with errors_as_one_line():
        (path,) = paths([name])
        content = read_workflow_file(path)
        print(mermaid.diagram(content.workflow, Policy.of_file(content, path)))
