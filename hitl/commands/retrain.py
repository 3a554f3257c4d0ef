"""`hitl retrain`: trains a workflow's model on what people decided."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine

from hitl.support.database import engine, errors_as_one_line
from hitl.support.loaded import (
    ModelContext,
    load_model,
    model_context,
    replay_set,
    update_mlflow,
    user_at_host,
)
from hitl.support.options import WorkflowName
from hitl.support.progress import training_bar
from services.feedback.training.locks import only_one
from shared.clock import utc_now

if TYPE_CHECKING:
    from services.feedback.registry.receipt import Receipt
    from services.feedback.training.fitting import OnProgress

PLAIN_SECONDS = 10.0
app = typer.Typer(add_completion=False)


@app.command("retrain")
def retrain_model(
    workflow: WorkflowName = "sentiment",
    min_labels: Annotated[
        int, typer.Option(min=2, help="With fewer decisions to train on, do nothing.")
    ] = 100,
    replay: Annotated[
        Path | None,
        typer.Option(help="Labelled texts, as train-texts takes them: what not to forget."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same decisions and seed: the same weights.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume an interrupted training.")
    ] = False,
) -> None:
    """Train a new version on what people decided. It decides nothing before it is promoted."""
    with errors_as_one_line():
        context = model_context(workflow)
        with (
            engine("hitl-models", connections=2) as database,
            only_one(context.registry.folder, database, workflow),
        ):
            receipt = _train(context, database, min_labels, replay, seed, resume)
    card = context.registry.folder / receipt.version / "README.md"
    print(card.read_text(encoding="utf-8"))
    print(f"Next: hitl model compare {receipt.parent.version} {receipt.version}, then "
          f"hitl model promote {receipt.version}")  # fmt: skip
    update_mlflow(context)


def _train(
    context: ModelContext,
    database: Engine,
    min_labels: int,
    replay: Path | None,
    seed: int,
    resume: bool,
) -> "Receipt":
    # Imported here: where the command is only listed there may be no torch.
    import torch

    from services.feedback.training import unfinished
    from services.feedback.training.labelled_texts import divide, reviewed
    from services.feedback.training.retrain import TrainingPlan, check, retrain
    from shared.models.task import Task

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same weights
    registry = context.registry
    version = registry.current_version()
    if resume:
        plan = unfinished.read_unfinished(registry)
        version, seed = plan.parent, plan.seed
        replay = None if plan.replay is None else Path(plan.replay)
    elif registry.unfinished.is_dir():
        typer.echo("discarding an interrupted training; --resume would resume it", err=True)
    with _bar() as progress:
        progress(0.0, "reading what people decided")
        parent = context.load(version)
        labels = parent.labels
        kind = context.workflow.answer
        items, taught = reviewed(database, context.workflow.name, kind), registry.taught(version)
        if resume:
            items, taught = plan.restrict(items), taught | plan.trained
        parts = divide(items, labels, taught)
        check(parts, min_labels)
        if not resume:
            unfinished.start_unfinished(registry, unfinished.Plan.of(version, seed, replay, parts))
        old = replay_set(context, replay, labels)
        if old is None:
            typer.echo("no replay set: the model may forget old texts, see --replay", err=True)
        return retrain(
            registry,
            TrainingPlan(
                parent=version,
                parent_folder=context.folder(version),
                threshold=context.threshold,
                seed=seed,
                min_labels=min_labels,
                by=user_at_host(),
                kind=kind,
            ),
            parent,
            parts,
            old,
            lambda folder: load_model(str(folder), Task(kind, context.workflow.labels or None)),
            utc_now,
            progress,
        )


@contextmanager
def _bar() -> Iterator["OnProgress"]:
    """A bar in a terminal; elsewhere a line now and then, and at the end."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_lines(console)
        return
    with training_bar(console) as show:
        yield show


def plain_lines(console: Console, clock: Callable[[], float] = time.monotonic) -> "OnProgress":
    """The first report, one every ten seconds, and the last."""
    due = 0.0

    def show(part: float, what: str) -> None:
        nonlocal due
        if clock() >= due or part == 1.0:
            due = clock() + PLAIN_SECONDS
            console.print(f"{part:4.0%} {what}", soft_wrap=True, highlight=False)

    return show
