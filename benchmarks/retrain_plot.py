"""How did accuracy and the share sent to people change with the reviews? The picture, as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

_GREY = "#808080"  # readable on white and on near-black
# Of each panel: what the axis says, its range, and its lines by key: name, colour, label's place.
_PANELS: tuple[tuple[str, tuple[int, int], dict[str, tuple[str, str, int]]], ...] = (
    (
        "accuracy, %",
        (72, 88),
        {
            "movies": ("movies, as trained on before", "#3a9d5d", 8),
            "amazon": ("Amazon, new", "#2f7ed8", -8),
        },
    ),
    ("sent to people, %", (0, 50), {"to_people": ("Amazon", "#d9822b", 0)}),
)


def draw(runs: Sequence[Sequence[Mapping[str, Any]]], path: Path) -> None:
    """One thin line a seed, and the median; the background stays as the page has it."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "hitl"  # the same figures, the same file
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2, 1, figsize=(7.6, 4.8), sharex=True, height_ratios=(3, 2), layout="constrained"
    )
    reviews = [point["reviews"] for point in runs[0]]
    for axes, (title, limits, lines) in zip(panels, _PANELS, strict=True):
        for key, (name, color, lift) in lines.items():
            steps = [[100 * point[key] for point in one] for one in runs]
            for one in steps:
                axes.plot(reviews, one, color=color, alpha=0.4, linewidth=1)
            middle = [median(at) for at in zip(*steps, strict=True)]
            axes.plot(reviews, middle, color=color, linewidth=2.4, marker="o", markersize=5)
            axes.annotate(
                f"{name}\n{middle[0]:.1f} → {middle[-1]:.1f}",
                (reviews[-1], middle[-1]),
                xytext=(10, lift), textcoords="offset points", va="center", color=color,
                annotation_clip=False,
            )  # fmt: skip
        axes.set_ylabel(title, color=_GREY)
        axes.set_ylim(*limits)
        axes.set_xticks(reviews)
        axes.grid(axis="y", color=_GREY, alpha=0.25, linewidth=0.6)
        axes.tick_params(colors=_GREY)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_GREY)
    panels[-1].set_xlabel("decisions of people", color=_GREY)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)
