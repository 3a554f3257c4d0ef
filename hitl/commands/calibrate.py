"""`hitl calibrate`: what is certified, how honest the machine is, what thresholds would cost."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hitl.support.database import engine, errors_as_one_line
from hitl.support.known_workflows import completed, paths
from hitl.support.options import Plot, ReportFormat
from services.feedback.reports.calibration import Calibration, NothingToJudge, Wanted, calibrate
from services.router.policy import Policy
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.wording import percent
from shared.workflows.files import read_workflow_file

app = typer.Typer(add_completion=False)


@app.command("calibrate")
def report(
    workflow: Annotated[
        str, typer.Option(help="A workflow's name or .toml file.", autocompletion=completed)
    ] = "sentiment",
    alpha: Annotated[
        float | None, typer.Option(help="Tolerated error rate; default: the workflow's.")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="Tolerated risk of a wrong certificate; default: the workflow's."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(help="Only the last days; default: the certifier's epoch.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model version; default: the newest.")] = None,
    format: ReportFormat = "text",
    plot: Plot = None,
) -> None:
    """What the audits prove: the certified threshold, the risk at others, the calibration."""
    with errors_as_one_line():
        _check(alpha=alpha, delta=delta, days=days)
        content = read_workflow_file(paths([workflow])[0])
        name, policy = content.workflow.name, Policy.of_file(content)
        wanted = Wanted(alpha, delta, days, model)
        with engine("hitl-calibrate", connections=2) as database:
            print("reading the audits …", file=sys.stderr)
            try:
                found = calibrate(database, name, policy, wanted, utc_now())
            except NothingToJudge as nothing:
                plain = {"certified": None, "why": str(nothing)}
                text = f"Nothing can be certified: {nothing}."
                print(json.dumps(plain, ensure_ascii=False, indent=1) if format == "json" else text)
                return
    if plot is not None:  # first: whoever reads the text may stop early, as `head` does
        from hitl.support.plots import draw_calibration  # matplotlib takes a second

        draw_calibration(found, plot)
        typer.echo(f"Drawn in {plot}.", err=True)
    if format == "json":
        typer.echo(as_json(found))
    else:
        _print(found)


def as_json(found: Calibration) -> str:
    """The whole report, times in ISO 8601."""
    content = asdict(found) | {"certified": found.certified._asdict()}
    return json.dumps(content, ensure_ascii=False, indent=1, default=lambda time: time.isoformat())


def _check(*, alpha: float | None, delta: float | None, days: float | None) -> None:
    problems = [
        f"--{name} {value:g}: it must be between 0 and 1"
        for name, value in (("alpha", alpha), ("delta", delta))
        if value is not None and not 0.0 < value < 1.0
    ]
    if days is not None and not 0.0 < days <= 36_500:
        problems.append(f"--days {days:g}: it must be above 0 and at most 36500")
    if problems:
        raise ConfigurationError("\n".join(problems))


def _print(found: Calibration) -> None:
    console = Console(soft_wrap=True, highlight=False)
    certified = found.certified
    console.print(f"[bold]{found.workflow}[/], mode {found.mode}, model {found.model_version}")
    state = {
        "epoch": f"certificate {found.certificate}" if found.certificate else "no certificate",
        "preview": "preview, no certificate",
        "what-if": "what if, no certificate",
    }[found.basis]
    console.print(f"[bold]{state}[/]: {certified.why}.")
    at = f"{found.watermark:%Y-%m-%d %H:%M:%S} UTC" if found.watermark else "none yet"
    console.print(
        f"alpha {percent(found.alpha)}, delta {percent(found.delta)}; audits routed since "
        f"{found.since:%Y-%m-%d %H:%M:%S} UTC, watermark {at}"
        + (f", epoch {found.epoch}" if found.epoch else "")
    )
    console.print(
        f"{found.audits} audits count, {found.errors} of them wrong ({found.overdue} overdue); "
        f"{found.waiting} wait for a label ({found.disputes} of them for a lead, who settles "
        f"disputes), {found.held} labels wait for earlier ones; left out: "
        f"{found.duplicates} copies, {found.erased} erased"
    )
    if certified.threshold is not None:
        console.print(
            f"at or above {certified.threshold:.4f}: {certified.errors} of {certified.labels} "
            f"wrong, at most {certified.upper_bound:.2%} (one look, {percent(1 - found.delta)})"
        )
    _print_reviews(console, found)
    temperature = found.temperature
    if temperature.value is None:
        console.print(f"temperature: unknown; {temperature.why}")
    else:
        console.print(
            f"temperature on {temperature.labels} labels: {temperature.value:.2f}; "
            f"{temperature.why}"
        )
    for note in found.notes:
        console.print(f"[yellow]note:[/] {escape(note)}.")
    if found.audits:
        _print_curve(console, found)


def _print_reviews(console: Console, found: Calibration) -> None:
    reviews = found.reviews_per_1000
    if reviews.now is None:
        return
    console.print(
        f"reviews per 1 000 items: {reviews.now:.0f} now, {reviews.all_human:.0f} with no machine"
    )
    if reviews.certified is not None and found.mode == "fixed":
        more = reviews.certified - reviews.now
        console.print(
            f"  {reviews.certified:.0f} at the certified threshold: {abs(more):.0f} "
            f"{'more' if more > 0 else 'fewer'} than at {found.threshold_in_file:g}"
        )
    elif reviews.certified is None and found.mode == "fixed":
        console.print("  mode certified would send all 1 000 to people until a threshold passes")


def _print_curve(console: Console, found: Calibration) -> None:
    table = Table("threshold", "items", "audits", "wrong", "rate", "at most", title="Risk")
    for point in found.curve:
        rate = "" if point.error_rate is None else f"{point.error_rate:.2%}"
        bound = "" if point.upper_bound is None else f"{point.upper_bound:.2%}"
        mark = " certified" if point.threshold in found.certified.levels else ""
        table.add_row(
            f"{point.threshold:.4f}{mark}", f"{point.coverage:.0%}", str(point.labels),
            str(point.errors), rate, bound,
        )  # fmt: skip
    console.print(table)
    table = Table("confidence", "audits", "said", "right", "95 %", title="Reliability")
    for each in found.reliability:
        table.add_row(
            f"{each.low:.1f} to {each.high:.1f}", str(each.labels), f"{each.confidence:.1%}",
            f"{each.right:.1%}", f"{each.right_low:.0%} to {each.right_high:.0%}",
        )  # fmt: skip
    console.print(table)
