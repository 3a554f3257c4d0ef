"""The reports of `hitl calibrate` and `hitl disagreements` as pictures."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitl.support.written_file import written_file
from services.feedback.reports.calibration import Calibration
from services.feedback.reports.disagreements import Disagreements
from shared.wording import percent

_ROW_INCHES, _TITLE_INCHES = 0.3, 0.75  # of the bars
_BLUE, _RED, _GREEN, _GREY = "#2f7ed8", "#c0392b", "#2e8b57", "#7a7a7a"


def draw_calibration(found: Calibration, path: Path) -> None:
    """Left the risk at each coverage with its bound, right confidence against accuracy."""
    figure = Figure(figsize=(10.5, 5.2), layout="constrained", facecolor="white")
    risk, honest = figure.subplots(1, 2)
    figure.suptitle(
        f"{found.workflow}, {found.model_version}: {found.audits} audits, {found.errors} wrong"
    )
    _risk(risk, found)
    _reliability(honest, found)
    for axis in (risk, honest):
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path, dpi=130)


def draw_disagreements(found: Disagreements, workflow: str, path: Path) -> None:
    """A bar for each group: its correction rate, the 95 % interval as a line."""
    parts = list(found.sections())
    heights = [_TITLE_INCHES + _ROW_INCHES * len(groups) for _, groups in parts]
    figure = Figure(figsize=(8, sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)
    figure.suptitle(f"What people correct: {workflow}, {found.corrected} of {found.items} items")
    for axis, (title, groups) in zip(axes[:, 0], parts, strict=True):
        rates = [100 * group.rate.rate for group in groups]
        spread = [
            [100 * (group.rate.rate - group.rate.low) for group in groups],
            [100 * (group.rate.high - group.rate.rate) for group in groups],
        ]
        names = [f"{group.name} ({group.items})" for group in groups]
        axis.barh(names, rates, color=_BLUE, height=0.6)
        axis.errorbar(rates, names, xerr=spread, fmt="none", ecolor=_GREY, capsize=3)
        axis.invert_yaxis()
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlim(0, 100)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("corrected, % of the items (in brackets: how many)")
    _save(figure, path, dpi=120)


def _risk(axis: Axes, found: Calibration) -> None:
    points = [point for point in found.curve if point.error_rate is not None]
    coverage = [100 * point.coverage for point in points]
    rates = [100 * (point.error_rate or 0.0) for point in points]
    bounds = [100 * (point.upper_bound or 0.0) for point in points]
    axis.fill_between(coverage, rates, bounds, color=_BLUE, alpha=0.18, linewidth=0)
    axis.plot(
        coverage,
        bounds,
        color=_BLUE,
        linewidth=0.8,
        label=f"bound, {percent(1 - found.delta)} each",
    )
    axis.plot(coverage, rates, color=_BLUE, linewidth=2, label="wrong among the audited")
    axis.axhline(
        100 * found.alpha,
        color=_RED,
        linestyle="--",
        linewidth=1,
        label=f"alpha = {percent(found.alpha)}",
    )
    threshold = found.certified.threshold
    if threshold is not None:
        at = [100 * point.coverage for point in found.curve if point.threshold >= threshold]
        what = "certified" if found.basis == "epoch" else found.basis
        axis.axvline(max(at), color=_GREEN, linewidth=2, label=f"{what}: {threshold:.3f}")
    highest = max([100 * found.alpha, *rates, 0.0])
    axis.set_ylim(0, 1.6 * highest)
    axis.set_xlim(0, 100)
    axis.set_xlabel("items at or above the threshold, %")
    axis.set_ylabel("wrong among them, %")
    axis.set_title("Risk and coverage", loc="left")
    _explain(axis)


def _reliability(axis: Axes, found: Calibration) -> None:
    bins = found.reliability
    said = [100 * each.confidence for each in bins]
    right = [100 * each.right for each in bins]
    spread = [
        [100 * (each.right - each.right_low) for each in bins],
        [100 * (each.right_high - each.right) for each in bins],
    ]
    axis.plot([0, 100], [0, 100], color=_GREY, linestyle=":", linewidth=1, label="honest")
    if bins:
        axis.errorbar(
            said, right, yerr=spread, fmt="o-", color=_BLUE, capsize=3, label="audited, 95 %"
        )
        for x, y, each in zip(said, right, bins, strict=True):
            axis.annotate(
                f"{each.labels}", (x, y), xytext=(5, -12), textcoords="offset points",
                color=_GREY, fontsize=8,
            )  # fmt: skip
        lowest = min(said + [100 * each.right_low for each in bins])
        axis.set_xlim(max(0.0, min(said) - 4), 101)
        axis.set_ylim(max(0.0, lowest - 4), 101)
    axis.set_xlabel("confidence, %")
    axis.set_ylabel("right, %")
    axis.set_title("Reliability (in grey: how many audits)", loc="left")
    _explain(axis)


def _explain(axis: Axes) -> None:
    """The legend, below the axes: inside it would lie on a curve, sooner or later."""
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, -0.14), ncols=2, fontsize=9, frameon=False)


def _save(figure: Figure, path: Path, dpi: int) -> None:
    with written_file(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix.removeprefix("."))
