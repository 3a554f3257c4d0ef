"""Options that several commands have."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from hitl.support.known_workflows import completed


def moment(given: str) -> datetime:
    """An ISO 8601 date or time: in its own zone where it has one, else in UTC. A bare number is
    refused: 2024 would be 34 minutes after 1970 to some readers.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        time = datetime.fromisoformat(given.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{given!r} is not a time: write 2024-05-01, or 2024-05-01T12:00:00+02:00"
        ) from None


def plot_file(given: str) -> Path:
    """A file that a plot can be written to.

    Raises:
        typer.BadParameter: its ending names no format.
    """
    if not given.endswith((".png", ".svg")):
        raise typer.BadParameter(f"{given}: the file must end in .png or .svg")
    return Path(given)


WorkflowName = Annotated[
    str, typer.Option("--workflow", help="The workflow's name.", autocompletion=completed)
]
Since = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="From this time on, UTC.")
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Before this time, UTC.")
]
ReportFormat = Annotated[Literal["text", "json"], typer.Option(help="For people or programs.")]
Plot = Annotated[
    Path | None,
    typer.Option(parser=plot_file, metavar="FILE", help="Also draw it: a .png or .svg file."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
