"""The clock: injected wherever it matters, so that tests can say what time it is."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock as an aware UTC time."""
    return datetime.now(UTC)


def as_utc(time: datetime) -> datetime:
    """The same time; one that a foreign program sent without a zone counts as UTC."""
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
