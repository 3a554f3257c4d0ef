"""What do the corrections look like as a picture?"""

from pathlib import Path

from matplotlib.figure import Figure

from hitl.support.written_file import written_file
from services.feedback.reports.disagreements import Disagreements

_BLUE, _GREY = "#2f7ed8", "#7a7a7a"
_ROW_INCHES, _TITLE_INCHES = 0.3, 0.75


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
    with written_file(path) as file:
        figure.savefig(file, dpi=120, format=path.suffix.removeprefix("."))
