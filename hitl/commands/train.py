"""`hitl train-embedded` makes the shipped adapter again, `hitl train-texts` a model of another
workflow; both on the embedded encoder."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hitl.servers.home import Home
from hitl.support.database import errors_as_one_line
from hitl.support.progress import training_bar

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
        typer.Argument(help=".jsonl or .csv with text and label; default: downloads tweets."),
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="Train on at most so many texts.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the texts.")] = 2,
    seed: Annotated[int, typer.Option(help="The same seed, the same model.")] = 2014,
) -> None:
    """Fine-tune the embedded encoder on labelled texts, a tenth of them held out to measure it.

    Without FILE: 38 158 tweets that a crowd labelled negative, neutral or positive.
    """
    import torch

    from services.feedback.training import tweets
    from services.feedback.training.fitting import Recipe
    from services.feedback.training.train_texts import labelled, train

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same files
    data = Home.from_environment(os.environ).data
    with errors_as_one_line(), training_bar(Console(stderr=True)) as show:
        if file is None:
            examples = tweets.fetch(data, lambda what: show(0.0, what))
            labels: tuple[str, ...] = tweets.LABELS
        else:
            examples, labels = labelled(file)
        recipe = Recipe(epochs=epochs)
        made = train(examples, labels, out, recipe=recipe, seed=seed, most=most, progress=show)
    quality = made.held_out
    taken = 1 - quality.share_below
    right = f", {quality.accuracy_above:.1%} of them correctly" if taken else ""
    print(
        f"{out}: labels {', '.join(labels)}; trained on {made.sizes[0]} texts, calibrated on "
        f"{made.sizes[1]}.\n"
        f"On {quality.items} held-out texts: accuracy {quality.accuracy:.1%} (majority "
        f"class: {made.commonest:.1%}), calibration error {quality.ece:.3f}.\n"
        f"At threshold {quality.threshold} the model decides {taken:.0%} of the items{right}.\n"
        f"Next: hitl workflow new NAME --model {out}"
    )
