"""How do cores grow with the items, and waits with how busy people are? The picture, as SVG."""

from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.capacity_model import BUSY, Costs, Work, plan
from benchmarks.capacity_page import RATES, VARIATION, simulated_waits
from benchmarks.capacity_queues import mean_wait

_GREY = "#808080"  # readable on white and on near-black
_BLUE, _ORANGE = "#2f7ed8", "#d9822b"
_TEAMS = {1: "#d9822b", 5: "#b5662b", 20: "#3a9d5d", 100: "#2f7ed8"}
_BUSY = [share / 100 for share in range(30, 98)]
_DOTS = (0.5, 0.7, 0.85, 0.95)


def draw(path: Path, costs: Costs, work: Work) -> None:
    """Left the machines, right the people; the background stays as the page has it."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "hitl"  # the same figures, the same file
    from matplotlib import pyplot

    figure, (machines, people) = pyplot.subplots(1, 2, figsize=(9.6, 4.4), layout="constrained")
    _machines(machines, costs, work)
    _people(people, work)
    for axes in (machines, people):
        axes.tick_params(colors=_GREY, which="both")
        axes.grid(color=_GREY, alpha=0.25, linewidth=0.6)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_GREY)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    pyplot.close(figure)


def _machines(axes: Any, costs: Costs, work: Work) -> None:
    rates = [10 ** (step / 20) for step in range(0, 101)]
    total = [plan(rate, costs, work).cores for rate in rates]
    model = [rate * costs.cpu["inference"] / BUSY for rate in rates]
    axes.set(xscale="log", yscale="log", xlim=(0.8, 2.5e5), ylim=(min(total) / 2, max(total) * 4))
    axes.fill_between(rates, min(total) / 2, model, color=_BLUE, alpha=0.25, linewidth=0)
    axes.fill_between(rates, model, total, color=_ORANGE, alpha=0.45, linewidth=0)
    axes.plot(rates, total, color=_BLUE, linewidth=2)
    limit = BUSY * costs.ceiling[1]
    full = plan(limit, costs, work).cores
    axes.plot([limit, limit], [min(total) / 2, full], color=_ORANGE, linewidth=1.4, linestyle="--")
    axes.annotate(
        f"one deployment\nis full at {limit:,.0f}", (limit, min(total)), xytext=(6, 12),
        textcoords="offset points", color=_ORANGE,
    )  # fmt: skip
    for rate in RATES:
        found = plan(rate, costs, work)
        several = f"\n{found.deployments} deployments" if found.deployments > 1 else ""
        cores = f"{found.cores:,.0f}" if found.cores >= 10 else f"{found.cores:.2g}"
        axes.plot([rate], [found.cores], "o", color=_BLUE, markersize=6)
        above = rate > RATES[1]
        axes.annotate(
            f"{rate:,}/s: {cores} cores{several}", (rate, found.cores),
            xytext=(-8, 6) if above else (10, 0), textcoords="offset points", color=_BLUE,
            ha="right" if above else "left", va="bottom" if above else "center",
        )  # fmt: skip
    axes.set_xlabel("items a second", color=_GREY)
    axes.set_ylabel("cores (blue: the model; orange: all the rest)", color=_GREY)
    axes.set_title("Machines", color=_GREY, loc="left")


def _people(axes: Any, work: Work) -> None:
    for team, color in _TEAMS.items():
        waits = [
            mean_wait(team, team * busy / work.seconds, work.seconds, VARIATION) for busy in _BUSY
        ]
        axes.plot([100 * busy for busy in _BUSY], waits, color=color, linewidth=2)
        dots = [simulated_waits(team, work.seconds, busy) for busy in _DOTS]
        means = [max(sum(one) / len(one), 1e-4) for one in dots]
        axes.plot([100 * busy for busy in _DOTS], means, "o", color=color, markersize=5)
        axes.annotate(
            f"{team} reviewer{'s' if team > 1 else ''}", (97, waits[-1]), xytext=(6, 0),
            textcoords="offset points", va="center", color=color, annotation_clip=False,
        )  # fmt: skip
    axes.set(yscale="log", xlim=(30, 97), ylim=(0.01, 1_000))
    axes.set_xlabel("of their time that people are busy, %", color=_GREY)
    axes.set_ylabel(f"mean wait, s (a review takes {work.seconds:.0f} s)", color=_GREY)
    axes.set_title("People (lines: formula; dots: simulation)", color=_GREY, loc="left")
