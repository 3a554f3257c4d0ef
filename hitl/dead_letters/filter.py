"""The dead letters and queues that a command is about, by its options."""

import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import typer

from hitl.dead_letters.queues import DeadLetter, depths
from hitl.support.connection import amqp_url
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.service.settings import Settings
from shared.topology import UNROUTABLE, dead_letter_queue, topology
from shared.workflows.files import workflow_paths

_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def age(given: str) -> timedelta:
    """`90s`, `30m`, `2h` or `7d`."""
    found = _AGE.fullmatch(given.strip())
    if found is None:
        raise typer.BadParameter("a number and s, m, h or d, like 30m")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


@dataclass
class Wanted:
    """Which letters a command is about; counts those that it chose."""

    reason: str | None = None
    older_than: timedelta | None = None
    item: str | None = None
    limit: int | None = None
    now: datetime = field(default_factory=utc_now)
    chosen: int = 0

    @property
    def filtered(self) -> bool:
        return not (self.reason is None and self.older_than is None and self.item is None)

    @property
    def full(self) -> bool:
        return self.limit is not None and self.chosen >= self.limit

    def chooses(self, letter: DeadLetter) -> bool:
        """Whether it is one of them; a letter without a time is of no age."""
        if self.older_than is not None:
            failed_at = letter.failed_at
            if failed_at is None or self.now - failed_at < self.older_than:
                return False
        if self.reason not in (None, letter.reason) or self.item not in (None, letter.item_id):
            return False
        self.chosen += 1
        return True


def found_queues(given: str | None) -> dict[str, int]:
    """The dead-letter queues that exist, or the one that is meant, and how many lie in each.

    Raises:
        ConfigurationError: none exists.
    """
    settings = Settings.from_environment(os.environ)
    if given is not None:
        plain = given.removesuffix(".dlq")
        names = [UNROUTABLE if plain == UNROUTABLE else dead_letter_queue(plain)]
    else:
        workflows = tuple(workflow_paths(settings.workflows_dir, settings.workflows))
        drawn = topology(workflows, settings.retry_delays_seconds)
        names = [one.name for one in drawn.queues if one.name.endswith(".dlq")] + [UNROUTABLE]
    found = depths(amqp_url(), names)
    if not found:
        raise ConfigurationError(
            f"no queue {', '.join(names)}: is RabbitMQ up, and has the pipeline ever run there?"
        )
    return found


def existing_homes(queues: dict[str, int]) -> set[str]:
    """The queues that letters may go back to."""
    settings = Settings.from_environment(os.environ)
    workflows = tuple(workflow_paths(settings.workflows_dir, settings.workflows))
    known = [one.name for one in topology(workflows, ()).queues]
    asked = {*known, *(name.removesuffix(".dlq") for name in queues)} - {UNROUTABLE}
    return {name for name in depths(amqp_url(), sorted(asked)) if not name.endswith(".dlq")}
