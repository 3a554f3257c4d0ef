"""The terminal view of a running stack."""

import time
from collections import deque
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hitl.servers.home import Home
from hitl.stack.status import ServiceStatus, Status
from hitl.support.terminal import printable
from shared.topology import POLICY_STREAM

RATE_SECONDS = 10.0
REVIEWED = ("HUMAN_ACCEPTED", "HUMAN_CORRECTED")


class Rate:
    """Items a second over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def per_second(self, count: int) -> float:
        """The rate, after having seen `count` items in all, now."""
        now = time.monotonic()
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (count - before) / (now - since) if now > since else 0.0


def figures(status: Status, rate: Rate | None) -> dict[str, str]:
    """The figures of the flow, from left to right; the rate needs more than one look."""
    items = status["items"]
    waiting = sum(
        depth["ready"] + (depth["unacked"] or 0)
        for name, depth in status["queues"].items()
        if name.endswith(".inference")
    )
    known = sum(items.values())
    numbers = {
        "submitted": f"{known + waiting:,}",
        "accepted": f"{items.get('AI_ACCEPTED', 0):,}",
        "waiting for a person": f"{items.get('HUMAN_REVIEW', 0):,}",
        "reviewed": f"{sum(items.get(name, 0) for name in REVIEWED):,}",
        "failed": f"{items.get('FAILED', 0):,}",
    }
    if "postgres" in status["problems"]:
        numbers = dict.fromkeys(numbers, "?")  # unknown, not 0
    for what, found in (
        ("for a lead", status["for_leads"]),
        ("for a second person, and there is none", status["nobody_left"]),
    ):
        if found["since"] is not None:
            waited = datetime.now(UTC) - datetime.fromisoformat(found["since"])
            minutes = max(waited.total_seconds(), 0.0) / 60
            oldest = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
            numbers[what] = f"{found['waiting']:,}, oldest {oldest}"
    if rate is not None:
        numbers["items/s"] = f"{rate.per_second(known):.1f}"
    return numbers


def service_words(status: Status) -> str:
    """Every service with its state, in one line."""
    return "  ".join(f"{service['name']} {state_of(service)}" for service in status["services"])


def state_of(service: ServiceStatus) -> str:
    """As text: colours are lost in a log."""
    state = "ready" if service["ready"] else "down" if service["pid"] is None else "not ready"
    return state + (f" (restarts: {service['restarts']})" if service["restarts"] else "")


def login_hint(home: Home, status: Status) -> str:
    """The address of the review page, and the first account's login."""
    hint = f"Review page: {status['ui_url']}"
    if home.reviewer_password.exists():
        hint += f"\nLogin: reviewer   password: {home.reviewer_password.read_text().strip()}"
    return hint


def plain_line(status: Status, rate: Rate) -> str:
    """The figures in one line, for a log."""
    numbers = ", ".join(f"{name} {value}" for name, value in figures(status, rate).items())
    return f"{time.strftime('%H:%M:%S')} {numbers} | {service_words(status)}"


def flow(status: Status, rate: Rate | None = None) -> Group:
    """The figures as a table, the queues that are not empty, and the servers that do not answer."""
    numbers = figures(status, rate)
    table = Table(expand=False)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*numbers.values())
    parts: list[RenderableType] = [table]
    # The stream keeps its messages after they were read.
    held = {name: depth for name, depth in status["queues"].items() if name != POLICY_STREAM}
    for name, depth in sorted(held.items(), key=lambda one: -one[1]["ready"]):
        if depth["ready"] or depth["unacked"]:
            unacked = f", {depth['unacked']:,} unacked" if depth["unacked"] else ""
            parts.append(Text(f"{name}: {depth['ready']:,} waiting{unacked}"))
    for server, problem in status["problems"].items():
        parts.append(Text(f"{server} does not answer: {problem}", style="red"))
    return Group(*parts)


def picture(home: Home, status: Status, rate: Rate | None = None) -> Group:
    """The flow, the state of the services, and the review page."""
    services = [
        Text.assemble(
            ("● ", "green" if service["ready"] else "red"), f"{service['name']} {state_of(service)}"
        )
        for service in status["services"]
    ]
    refused = [
        Text(f"{service} refuses workflow {workflow}: {printable(why)}", style="red")
        for service, workflows in status["refused"].items()
        for workflow, why in workflows.items()
    ]
    return Group(flow(status, rate), *services, *refused, Text(login_hint(home, status)))
