"""Which dead-lettered messages and queues the options of a command select."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import typer

from hitl.dead_letters.queues import DeadLetter, depths
from hitl.support.connection import amqp_url
from hitl.support.known_workflows import configured_queues
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.topology import UNROUTABLE, dead_letter_queue

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(given: str) -> timedelta:
    """`90s`, `30m`, `2h` or `7d`."""
    found = _AGE.fullmatch(given.strip())
    if found is None:
        raise typer.BadParameter(f"{given!r} is not an age: write a number and s, m, h or d: 30m")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


@dataclass
class Filter:
    """The filter of a command, and how many messages it has selected."""

    reason: str | None = None
    older_than: timedelta | None = None
    item: str | None = None
    limit: int | None = None
    now: datetime = field(default_factory=utc_now)
    selected: int = 0

    @property
    def filtered(self) -> bool:
        return not (self.reason is None and self.older_than is None and self.item is None)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.selected >= self.limit

    def matches(self, message: DeadLetter) -> bool:
        """Does the filter match it? Without a time it has no age, and is never older."""
        if self.older_than is not None:
            failed_at = message.failed_at
            if failed_at is None or self.now - failed_at < self.older_than:
                return False
        return self.reason in (None, message.reason) and self.item in (None, message.item_id)


def found_queues(given: str | None) -> dict[str, int]:
    """The dead-letter queues that exist, or the given one, with their numbers of messages.

    Raises:
        ConfigurationError: none exists.
    """
    if given is not None:
        plain = given.removesuffix(".dlq")
        names = [UNROUTABLE if plain == UNROUTABLE else dead_letter_queue(plain)]
    else:
        names = [name for name in configured_queues() if name.endswith(".dlq")] + [UNROUTABLE]
    found = depths(amqp_url(), names)
    if not found:
        raise ConfigurationError(
            f"no queue {', '.join(names)}: is RabbitMQ running, and was `hitl up` or `hitl prepare`"
            " run there?"
        )
    return found


def existing_homes(queues: dict[str, int]) -> set[str]:
    """The queues that exist for messages to be requeued to."""
    asked = {*configured_queues(), *(name.removesuffix(".dlq") for name in queues)} - {UNROUTABLE}
    return {name for name in depths(amqp_url(), sorted(asked)) if not name.endswith(".dlq")}
