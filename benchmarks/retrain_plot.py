"""How did accuracy and the share sent to people change with the reviews? The picture, as SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

_GREY = "#808080"  # readable on white and on near-black
_LINES = (
    ("amazon", "accuracy on Amazon (new)", "#2f7ed8", "-"),
    ("movies", "accuracy on movies (old)", "#3a9d5d", "-"),
    ("to_people", "Amazon sent to people", "#d9822b", "--"),
)


def draw(runs: Sequence[Sequence[Mapping[str, Any]]], path: Path) -> None:
    """One thin line a seed, and the median; the background stays as the page has it."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "hitl"  # the same figures, the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7.6, 4.2))
    reviews = [point["reviews"] for point in runs[0]]
    for key, label, color, style in _LINES:
        for one in runs:
            axes.plot(
                reviews, [100 * p[key] for p in one], style, color=color, alpha=0.35, linewidth=0.9
            )
        middle = [
            sorted(100 * one[at][key] for one in runs)[len(runs) // 2] for at in range(len(reviews))
        ]
        axes.plot(reviews, middle, style, color=color, linewidth=2.4, marker="o", markersize=5)
        axes.annotate(
            f"{label}\n{middle[0]:.1f} → {middle[-1]:.1f} %",
            (reviews[-1], middle[-1]),
            xytext=(10, 0), textcoords="offset points", va="center", color=color, fontsize=10,
        )  # fmt: skip
    axes.set_xlabel("decisions of people", color=_GREY)
    axes.set_ylabel("per cent", color=_GREY)
    axes.set_xticks(reviews)
    axes.set_ylim(20, 100)
    axes.grid(axis="y", color=_GREY, alpha=0.25, linewidth=0.6)
    axes.tick_params(colors=_GREY)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GREY)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
