"""`hitl disagreements`: what people correct most, as a table, JSON or a picture."""

import json
from dataclasses import asdict

import typer
from rich.console import Console
from rich.table import Table

from hitl.support.database import engine, errors_as_one_line
from hitl.support.known_workflows import unknown_workflow_hint
from hitl.support.options import Plot, ReportFormat, Since, Until, WorkflowName
from hitl.support.terminal import printable
from services.feedback.reports.disagreements import Disagreements, disagreements
from services.feedback.reports.reviewed import reviewed

app = typer.Typer(add_completion=False)


@app.command("disagreements")
def show(
    workflow: WorkflowName = "sentiment",
    since: Since = None,
    until: Until = None,
    format: ReportFormat = "text",
    plot: Plot = None,
) -> None:
    """Which labels, fields, confidences, lengths, sources and words people correct most."""
    with errors_as_one_line(), engine("hitl-disagreements") as database:
        found = disagreements(reviewed(database, workflow, since=since, until=until))
    if format == "json":
        typer.echo(json.dumps(asdict(found), ensure_ascii=False, indent=1))
    elif found.items == 0:
        typer.echo(
            f"No person has decided an item of {workflow!r} in that time that had a prediction."
            f"{unknown_workflow_hint([workflow])}"
        )
    else:
        _print(found)
    if plot is not None and found.items:
        from hitl.support.plots import draw_disagreements  # matplotlib takes a second

        draw_disagreements(found, workflow, plot)
        typer.echo(f"Drawn in {plot}.", err=True)


def _print(found: Disagreements) -> None:
    console = Console(markup=False)
    console.print(
        f"{found.items} items decided by people, {found.corrected} corrected{_percent(found.rate)}."
    )
    if found.panel is not None:
        console.print(
            f"Of the {found.panel.items} on the audit panel, drawn at random from all items: "
            f"{found.panel.corrected} corrected{_percent(found.panel.rate)}."
        )
    else:
        console.print(
            "None of them was on the audit panel: the rates are those of the items that came to "
            "people, not of the whole stream."
        )
    for title, groups in found.sections():
        table = Table(
            printable(title), "items", "corrected", "rate", "95 % interval", title_justify="left"
        )
        for group in groups:
            low, high = group.rate.low, group.rate.high
            table.add_row(
                printable(group.name), str(group.items), str(group.corrected),
                f"{group.rate.rate:.0%}", f"{low:.0%} to {high:.0%}",
            )  # fmt: skip
        console.print(table)
    if found.words:
        table = Table("words in corrected texts", "items", "corrected", "z")
        for word in found.words:
            table.add_row(
                printable(word.word), str(word.items), str(word.corrected), f"{word.z:.1f}"
            )
        console.print(table)


def _percent(rate: object) -> str:
    low, high = getattr(rate, "low", None), getattr(rate, "high", None)
    return "" if low is None or high is None else f" ({low:.0%} to {high:.0%}, 95 %)"
