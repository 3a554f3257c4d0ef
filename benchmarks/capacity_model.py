"""How many of what for so many items a second, and where does it break first? Pure.

Linear in the rate, by what one item was measured to cost; whole processes, and whole deployments:
one broker with one database, whose narrowest part sets how much it can take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

BUSY = 0.7  # of a core or a ceiling: the rest is for peaks, restarts and catching up
PEOPLE_BUSY = 0.85
DAY_SECONDS = 86_400
PARTS = ("inference", "router", "review_ui", "logger", "broker", "postgres")
MESSAGES = 3  # of an item pass the broker: the item, what it scored, where it goes


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one item: seconds of a core by part, and bytes. `explaining`: of one that people decide,
    for its highlights, when nothing waits to be scored. `ceilings`: items a second that one
    deployment cannot exceed, by what stands in the way."""

    cpu: Mapping[str, float]
    explaining: float
    review_share: float
    events: float
    database_bytes: float
    wal_bytes: float
    waiting_bytes: float
    ceilings: Mapping[str, float]

    @classmethod
    def of(
        cls, measured: Mapping[str, float], router: Mapping[str, float], logger: Mapping[str, float]
    ) -> "Costs":
        """From the results of `bin/bench capacity`, `router` and `logger`."""
        events = measured["events_per_item"]
        return cls(
            cpu={part: measured[f"{part}_cpu_s"] for part in PARTS},
            explaining=measured["explain_cpu_s"],
            review_share=measured["review_share"],
            events=events,
            database_bytes=sum(
                measured[f"{table}_bytes"]
                for table in ("event", "item", "ledger_block", "review_task")
            ),
            wal_bytes=measured["wal_bytes"],
            waiting_bytes=measured["queue_disk_bytes"],
            ceilings={
                "the log: loggers take turns at the commit": logger["ours_events_per_s"] / events,
                "the queue `hitl.log`": router["c_logged_per_s"] / events,
                "the queue `hitl.router`": router["c_logged_per_s"],
            },
        )

    @property
    def ceiling(self) -> tuple[str, float]:
        """What breaks first, and at how many items a second."""
        name = min(self.ceilings, key=lambda name: self.ceilings[name])
        return name, self.ceilings[name]


@dataclass(frozen=True, slots=True)
class Work:
    """What only whoever plans knows: `share` of the items goes to people, who take `seconds` each
    and work `hours` a day; prices, where there are any."""

    share: float
    seconds: float
    hours: float = 24.0
    core_month: float = 0.0
    gb_month: float = 0.0
    reviewer_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """For one rate. `processes` at least one of each, in all deployments together; on top of
    `cores` come those that weigh every word of what people decide, where there are any to spare."""

    rate: float
    deployments: int
    processes: Mapping[str, int]
    cores: float
    highlight_cores: float
    database_gb_day: float
    wal_mb_s: float
    backlog_gb_hour: float
    reviewer_hours_day: float
    reviewers: int

    def price(self, work: Work, *, kept_days: float = 30.0) -> float:
        """A month: cores, what `kept_days` leave in the database, and people."""
        stored = self.database_gb_day * kept_days
        people = self.reviewer_hours_day * 30 * work.reviewer_hour
        return self.cores * work.core_month + stored * work.gb_month + people


def plan(rate: float, costs: Costs, work: Work) -> Plan:
    """What `rate` items a second need, day and night."""
    deployments = max(1, ceil(rate / (BUSY * costs.ceiling[1])))
    questions = rate * work.share
    cores = {part: rate * each / BUSY for part, each in costs.cpu.items()}
    hours = questions * DAY_SECONDS * work.seconds / 3_600
    return Plan(
        rate=rate,
        deployments=deployments,
        processes={
            part: max(deployments, ceil(cores[part]))
            for part in ("inference", "router", "review_ui", "logger")
        },
        cores=sum(cores.values()),
        highlight_cores=questions * costs.explaining / BUSY,
        database_gb_day=rate * DAY_SECONDS * costs.database_bytes / 1e9,
        wal_mb_s=rate * costs.wal_bytes / 1e6,
        backlog_gb_hour=rate * 3_600 * costs.waiting_bytes / 1e9,
        reviewer_hours_day=hours,
        reviewers=ceil(hours / (work.hours * PEOPLE_BUSY)),
    )


def most_items(reviewers: int, work: Work) -> float:
    """Items a second of which so many people can answer their share, at `PEOPLE_BUSY`."""
    return reviewers * PEOPLE_BUSY * (work.hours / 24) / (work.seconds * work.share)


def predicted_core_seconds(
    inference: Mapping[str, float],
    router: Mapping[str, float],
    logger: Mapping[str, float],
    events: float,
) -> float:
    """Of one item, by what each part's own benchmark found, each alone on the machine: texts of 5
    to 60 words, a message decided, three that pass the broker, events written by logger and
    database, which together kept about one core."""
    scored = 1 / inference["short_ours_per_core_s"]
    routed = router["ours_logged_client_us"] / 1e6
    moved = MESSAGES * router["ours_logged_broker_us"] / 1e6
    return scored + routed + moved + events / logger["ours_events_per_s"]
