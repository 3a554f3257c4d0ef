"""Reads the moment that `--since` or `--until` names."""

from datetime import UTC, datetime

import typer


def moment(given: str) -> datetime:
    """An ISO 8601 date or time: in its own zone where it says one, else in UTC. A bare number is
    none: 2024 would be 34 minutes after 1970 to some readers.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        time = datetime.fromisoformat(given.strip())
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{given!r} is no time: write 2024-05-01, or 2024-05-01T12:00:00+02:00"
        ) from None
