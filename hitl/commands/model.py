"""`hitl model`: lists the versions of a model, compares them, and says which one decides."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hitl.support.database import engine, errors_as_one_line
from hitl.support.loaded import ModelContext, model_context, replay_set, update_mlflow, user_at_host
from hitl.support.options import AsJson, WorkflowName
from services.feedback.registry.mlflow_copy import copy_to_mlflow
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.models.current import BASE_VERSION

if TYPE_CHECKING:
    from services.feedback.training.compare import Comparison
    from services.feedback.training.gates import Gate

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Versions of a workflow's model."
)

Version = Annotated[str, typer.Argument(help="v1, v2, …; base: the workflow's own model.")]


@app.command("list")
def list_versions(workflow: WorkflowName = "sentiment", as_json: AsJson = False) -> None:
    """Show all versions, and which of them decides."""
    with errors_as_one_line():
        context = model_context(workflow)
        registry = context.registry
        current = registry.current()
        in_use = BASE_VERSION if current is None else current.version
        shadow = None if current is None else current.shadow
        receipts = [registry.receipt(version) for version in registry.versions()]
    base = {"version": BASE_VERSION, "model": context.workflow.model, "role": ""}
    rows: list[dict[str, object]] = [dict(base)]
    for receipt in receipts:
        held_out = receipt.figures.get("held_out", {}).get("candidate")
        rows.append(
            {
                "version": receipt.version,
                "model": receipt.model_version,
                "role": "",
                "from": receipt.parent.version,
                "decisions": len(receipt.trained_on),
                "accuracy": None if held_out is None else round(held_out.accuracy[0], 4),
                "created_at": receipt.created_at.isoformat(timespec="seconds"),
            }
        )
    for row in rows:
        if row["version"] == in_use:
            row["role"] = "live"
        elif shadow is not None and row["version"] == shadow.version:
            row["role"] = f"shadow {shadow.share:.0%}"
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("Version", "Role", "Model", "From", "Decisions", "Accuracy", "Made")
    for row in rows:
        keys = ("version", "role", "model", "from", "decisions", "accuracy", "created_at")
        table.add_row(*("" if row.get(key) is None else str(row.get(key)) for key in keys))
    Console(markup=False).print(table)


@app.command()
def show(version: Version, workflow: WorkflowName = "sentiment", as_json: AsJson = False) -> None:
    """Show a version's model card and its history; as JSON, its receipt."""
    with errors_as_one_line():
        registry = model_context(workflow).registry
        receipt = registry.receipt(version)
        changes = [change for change in registry.history() if change.version == version]
    if as_json:
        print(receipt.model_dump_json(indent=1))
        return
    print((registry.folder / version / "README.md").read_text(encoding="utf-8"))
    for change in changes:
        forced = "" if change.forced is None else f", forced: {change.forced}"
        print(f"{change.at:%Y-%m-%d %H:%M} {change.action} by {change.by}{forced}")


@app.command()
def compare(
    one: Version, other: Version, workflow: WorkflowName = "sentiment", as_json: AsJson = False
) -> None:
    """Compare two versions on held-out decisions of people and, where one has shadowed the other,
    on live traffic."""
    with errors_as_one_line():
        found, verdicts = _compare(model_context(workflow), one, other)
    if as_json:
        print(json.dumps({**found.plain(), "gates": [gate._asdict() for gate in verdicts]}))
        return
    table = Table("", one, other, title=f"{workflow}: {one} and {other}")
    for row in found.rows():
        table.add_row(*row)
    Console(markup=False).print(table)
    for line in found.shadow_lines():
        print(line)
    _print(verdicts)


@app.command()
def promote(
    version: Version,
    workflow: WorkflowName = "sentiment",
    force: Annotated[
        str | None, typer.Option(help="Promote it although a gate fails, for this reason.")
    ] = None,
) -> None:
    """Let a version decide, if it passes the gates. The workers switch to it within seconds."""
    from services.feedback.training.gates import refusal

    with errors_as_one_line():
        context = model_context(workflow)
        registry = context.registry
        before = registry.current_version()
        if version == before:
            raise ConfigurationError(f"{version} is in use already")
        forced = None
        if version != BASE_VERSION:
            registry.receipt(version)  # raises, if there is no such version
        if force is not None and not force.strip():
            raise ConfigurationError("--force needs a reason")
        _, verdicts = _compare(context, before, version)
        _print(verdicts)
        why_not = refusal(verdicts)
        if why_not is not None:
            if force is None:
                raise ConfigurationError(
                    f"{version} is not promoted. --force 'REASON' overrides the gates; your name "
                    f"and the reason are recorded"
                )
            forced = f"{force} (against: {why_not})"
        registry.promote(version, by=user_at_host(), at=utc_now(), forced=forced, over=before)
    print(f"{version} decides now. To undo: hitl model rollback --workflow {workflow}")
    update_mlflow(context)


@app.command()
def rollback(workflow: WorkflowName = "sentiment") -> None:
    """Let the version before the one in use decide again."""
    with errors_as_one_line():
        context = model_context(workflow)
        current = context.registry.rollback(by=user_at_host(), at=utc_now())
    print(f"{current.version} decides again.")
    update_mlflow(context)


@app.command()
def shadow(
    version: Annotated[str | None, typer.Argument(help="The candidate.")] = None,
    share: Annotated[float, typer.Option(min=0.0001, max=1.0, help="Of the items, 0 to 1.")] = 0.1,
    stop: Annotated[bool, typer.Option("--stop", help="End the shadowing.")] = False,
    workflow: WorkflowName = "sentiment",
) -> None:
    """Let a candidate score a share of the live items, without deciding any."""
    with errors_as_one_line():
        if stop == (version is not None):
            raise ConfigurationError("give either a version or --stop")
        context = model_context(workflow)
        if not stop and context.workflow.answer != "label":
            raise ConfigurationError(
                f"{workflow} asks for {context.workflow.answer}: only models of one label score "
                "beside the live one; `hitl model compare` compares them on held-out items"
            )
        context.registry.shadow(version, share, by=user_at_host(), at=utc_now())
    print("shadowing ended" if stop else f"{version} also scores {share:.0%} of the items")
    update_mlflow(context)


@app.command()
def push(workflow: WorkflowName = "sentiment") -> None:
    """Send to MLflow what it has missed; retrain, promote, rollback and shadow do so themselves."""
    with errors_as_one_line():
        context = model_context(workflow)
        if not context.mlflow_uri:
            raise ConfigurationError("HITL_MLFLOW_URI is not set: set it to the address of MLflow")
        sent = copy_to_mlflow(context.mlflow_uri, context.registry)
    print(f"registered in MLflow: {', '.join(sent) or 'nothing new'}; its aliases are up to date")


def _compare(context: ModelContext, one: str, other: str) -> "tuple[Comparison, list[Gate]]":
    import torch

    from services.feedback.training.compare import compare_on
    from services.feedback.training.gates import remembered

    torch.set_num_threads(1)
    registry = context.registry
    for version in (one, other):
        if version != BASE_VERSION:
            registry.receipt(version)
    taught = registry.taught(one) | registry.taught(other)
    first, second = context.load(one), context.load(other)
    old = replay_set(context, None, second.labels)
    with engine("hitl-models", connections=2) as database:
        found, verdicts = compare_on(
            database, context.workflow, first, second, old, taught, context.threshold
        )
    if other != BASE_VERSION and found.old is None:
        then = remembered(registry.receipt(other))
        verdicts += [] if then is None else [then]
    return found, verdicts


def _print(verdicts: "list[Gate]") -> None:
    for gate in verdicts:
        print(f"{'pass' if gate.passed else 'FAIL'}  {gate.name}: {gate.words}")
