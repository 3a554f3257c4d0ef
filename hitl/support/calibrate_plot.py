"""What do risk and reliability look like as a picture?"""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hitl.support.written_file import written_file
from services.feedback.reports.calibration import Calibration
from shared.wording import percent

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
    with written_file(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix.removeprefix("."))


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
