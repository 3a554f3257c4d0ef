"""How is the embedded model's adapter made again? `hitl train-embedded`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from hitl.home import Home

app = typer.Typer(add_completion=False)


@app.command("train-embedded")
def train_embedded(
    out: Annotated[Path, typer.Option(help="Folder for the adapter and its model card.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the fetched texts.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same adapter.")] = 2014,
) -> None:
    """Train, calibrate and measure the embedded adapter: about six minutes on one core."""
    # Imported here: where the command is only listed there may be no torch.
    import torch

    from services.feedback.train_embedded import train

    torch.set_num_threads(1)  # sums in one order: the same seed gives the same files
    folder = data or Home.from_environment(os.environ).data
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=1.0)

        def show(part: float, what: str) -> None:
            bar.update(task, completed=part, description=what)

        train(folder, out, seed, show)
    print((out / "README.md").read_text(encoding="utf-8"))
