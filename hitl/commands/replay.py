"""`hitl replay`: what another policy would have done with the items of the log."""

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hitl.support.database import engine, errors_as_one_line
from hitl.support.known_workflows import completed, unknown_workflow_hint
from hitl.support.options import ReportFormat, Since, Until
from services.feedback.reports.replay import ErrorEstimate, Replayed, replay
from services.feedback.reports.replay_log import history
from services.router.policy import Policy
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.workflows.files import read_draft

app = typer.Typer(add_completion=False)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DAYS = 14  # shown to people


@app.command("replay")
def show(
    policy: Annotated[Path, typer.Option(help="A workflow file with another policy section.")],
    workflow: Annotated[
        str | None,
        typer.Option(help="The workflow's name; default: the file's.", autocompletion=completed),
    ] = None,
    since: Since = None,
    until: Until = None,
    reviewers: Annotated[int, typer.Option(min=1, help="How many people review.")] = 1,
    format: ReportFormat = "text",
) -> None:
    """Route the log's items by another policy: automation, errors, reviews, waiting time."""
    with errors_as_one_line():
        content = read_draft(policy)
        wanted = Policy.of_file(content)
        name = workflow or content.workflow.name
        start, end = since or _FIRST, until or utc_now()
        if start >= end:
            raise ConfigurationError(f"--since {start:%Y-%m-%d %H:%M} is not before {end}")
        with engine("hitl-replay") as database:
            found = replay(
                history(database, name, start, end),
                wanted,
                name,
                reviewers,
                lambda done: print(f"{done} items …", file=sys.stderr),
            )
    if format == "json":
        typer.echo(
            json.dumps(asdict(found), ensure_ascii=False, indent=1, default=lambda t: t.isoformat())
        )
    elif not found.items:
        left = f" ({found.left_out} were erased)" if found.left_out else ""
        typer.echo(
            f"No item of {name!r} was routed in that time{left}.{unknown_workflow_hint([name])}"
        )
    else:
        _print(found, name)


def _print(found: Replayed, workflow: str) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"[bold]{workflow}[/]: {found.items} items from {found.first:%Y-%m-%d %H:%M} to "
        f"{found.last:%Y-%m-%d %H:%M} UTC by policy {found.policy_version}"
    )
    console.print(
        f"decided by the machine: {found.automation or 0:.1%}, "
        f"actual: {found.automation_then or 0:.1%}"
    )
    console.print(f"wrong among what it accepts: {_error(found.error)}")
    console.print(f"  actual: {_error(found.error_then)}")
    console.print(
        f"reviews: {found.reviews}, actual {found.reviews_then}; "
        f"{found.reviews_a_day or 0:.0f} a day"
    )
    for day, (then, now) in list(found.by_day.items())[-_MAX_DAYS:]:
        console.print(f"  {day}  {now:>7}  actual {then:>7}")
    queue = found.queue
    if queue is not None:
        console.print(
            f"{queue.reviewers} reviewer{'s' if queue.reviewers > 1 else ''}, "
            f"{queue.seconds_each:.1f} s each (median), around the clock: busy {queue.busy:.0%}; "
            f"an item waits {queue.median:.0f} s (median), {queue.p90:.0f} s (90 %), "
            f"{queue.longest:.0f} s at most"
        )
        if queue.busy >= 1.0:
            console.print(f"  the queue grows without bound; {queue.enough} reviewers are needed")
    for note in found.notes:
        console.print(f"[yellow]note:[/] {escape(note)}.")


def _error(error: ErrorEstimate) -> str:
    if error.rate is None or error.low is None or error.high is None:
        return "unknown: no person has labelled any of them"
    return (
        f"{error.rate:.2%} ({error.low:.2%} to {error.high:.2%}, 95 %), from {error.labels} "
        f"answers, {error.errors} of them corrections"
    )
