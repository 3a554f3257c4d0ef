"""`hitl train-embedded` makes the shipped adapter again, `hitl train-texts` a model of another
workflow; both on the embedded encoder."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from hitl.servers.home import Home
from hitl.support.database import errors_as_one_line
from hitl.support.loaded import ModelContext, load_model, model_context
from hitl.support.progress import training_bar
from shared.answers.base import AnswerSpec, Kind
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.models.task import Task

if TYPE_CHECKING:
    from services.feedback.training.fitting import OnProgress, Recipe

app = typer.Typer(add_completion=False)


@app.command("train-embedded")
def train_embedded(
    out: Annotated[Path, typer.Option(help="Folder for the adapter and its model card.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the downloaded texts.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same adapter.")] = 2014,
) -> None:
    """Train, calibrate and measure the embedded adapter: about six minutes on one core."""
    # Imported here: where the command is only listed there may be no torch.
    import torch

    from services.feedback.training.train_embedded import train

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same files
    folder = data or Home.from_environment(os.environ).data
    with training_bar(Console(stderr=True)) as show:
        train(folder, out, seed, show)
    print((out / "README.md").read_text(encoding="utf-8"))


@app.command("train-texts")
def train_texts(
    out: Annotated[Path, typer.Option(help="New folder for the model; its name is its id.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Rows of text and label, labels or spans; or an export. Default: downloads tweets."
        ),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option(help="Of labels or spans, for this one: its labels, no worse than its model."),
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Train on at most so many texts.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the texts.")] = 2,
    seed: Annotated[int, typer.Option(help="The same seed, the same model.")] = 2014,
) -> None:
    """Fine-tune the embedded encoder on labelled texts, a tenth of them held out to measure it.

    Without FILE: 38 158 tweets that a crowd labelled negative, neutral or positive.
    """
    import torch

    from services.feedback.training.examples import kind_of
    from services.feedback.training.fitting import Recipe

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same files
    recipe = Recipe(epochs=epochs)
    with errors_as_one_line(), training_bar(Console(stderr=True)) as show:
        context = None if workflow is None else model_context(workflow)
        kind = "label" if file is None else kind_of(file)
        if context is not None and context.workflow.answer != kind:
            raise ConfigurationError(
                f"workflow {workflow} asks for {context.workflow.answer}, but the texts have {kind}"
            )
        if file is None or kind == "label":
            told = _train_label(file, out, recipe, seed, most, show)
        else:
            told = _train_head(kind, context, file, out, recipe, seed, most, show)
    print(told)


def _train_label(
    file: Path | None, out: Path, recipe: "Recipe", seed: int, most: int | None, show: "OnProgress"
) -> str:
    from services.feedback.training import tweets
    from services.feedback.training.train_texts import labelled, train

    if file is None:
        data = Home.from_environment(os.environ).data
        examples = tweets.fetch(data, lambda what: show(0.0, what))
        labels: tuple[str, ...] = tweets.LABELS
    else:
        examples, labels = labelled(file)
    made = train(examples, labels, out, recipe=recipe, seed=seed, most=most, progress=show)
    quality = made.held_out
    taken = 1 - quality.share_below
    right = f", {quality.accuracy_above:.1%} of them correctly" if taken else ""
    return (
        f"{out}: labels {', '.join(labels)}; trained on {made.sizes[0]} texts, calibrated on "
        f"{made.sizes[1]}.\n"
        f"On {quality.items} held-out texts: accuracy {quality.accuracy:.1%} (majority "
        f"class: {made.commonest:.1%}), calibration error {quality.ece:.3f}.\n"
        f"At threshold {quality.threshold} the model decides {taken:.0%} of the items{right}.\n"
        f"Next: hitl workflow new NAME --model {out}"
    )


def _train_head(
    kind: Kind,
    context: ModelContext | None,
    file: Path,
    out: Path,
    recipe: "Recipe",
    seed: int,
    most: int | None,
    show: "OnProgress",
) -> str:
    from services.feedback.training.examples import labelled_texts, named_in
    from services.feedback.training.gates import refusal
    from services.feedback.training.train_heads import train_head

    spec = AnswerSpec(kind) if context is None else replace(context.workflow.spec, kind=kind)
    texts = labelled_texts(file, spec)
    labels = spec.labels or named_in(texts)
    live = None
    if context is not None and context.workflow.has_model:
        live = context.load(context.registry.current_version())
    made = train_head(
        texts,
        kind,
        labels,
        out,
        recipe=recipe,
        seed=seed,
        most=most,
        load=lambda folder: load_model(str(folder), Task(kind, labels)),
        clock=utc_now,
        live=live,
        progress=show,
    )
    card = (out / "README.md").read_text(encoding="utf-8")
    why_not = refusal(made.gates)
    if why_not is not None:
        raise ConfigurationError(f"{card}\n{out} is written, but do not use it: {why_not}")
    return f"{card}\nNext: hitl workflow new NAME --answer {kind} --model {out}"
