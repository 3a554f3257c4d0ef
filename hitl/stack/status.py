"""The status of a stack: which services are ready, queue depths, items by status."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple, TypedDict

import psycopg2

from hitl.servers.home import Home, StackState
from hitl.stack.fleet import SERVICES, look
from hitl.support.connection import given, given_api_url
from hitl.support.known_workflows import configured_queues
from hitl.support.queue_depths import Depths, queue_depths
from shared.storage.waiting_tasks import COUNT_FOR_LEADS, COUNT_NOBODY_LEFT

TIMEOUT_SECONDS = 3


class ServiceStatus(TypedDict):
    """One service; `pid` is None while it is down."""

    name: str
    pid: int | None
    ready: bool
    restarts: int


class Waiting(TypedDict):
    """How many tasks wait, and since when the oldest does (ISO 8601)."""

    waiting: int
    since: str | None


class Status(TypedDict):
    """What `hitl status --json` prints: the names are a contract."""

    amqp_url: str
    database_url: str
    ui_url: str
    metrics: dict[str, str]
    services: list[ServiceStatus]
    queues: Depths
    items: dict[str, int]
    for_leads: Waiting  # people disagree about them, or flagged them
    nobody_left: Waiting  # for a second reviewer, and no other account may answer
    refused: dict[str, dict[str, str]]  # by service: workflows not served as configured, and why
    problems: dict[str, str]  # by server that does not answer: why; its figures are missing


NONE_WAITS = Waiting(waiting=0, since=None)


class Counts(NamedTuple):
    """What the database counts: items by status, and tasks that wait for particular people."""

    items: dict[str, int]
    for_leads: Waiting
    nobody_left: Waiting


def collect(home: Home) -> Status:
    """Asks the services and servers in parallel; one that does not answer is not ready, or among
    the problems."""
    running = home.supervisor() is not None
    state = home.read_state() or StackState()
    amqp_url = given("AMQP_URL", os.environ) or state.amqp_url
    database_url = given("DATABASE_URL", os.environ) or state.database_url
    api_url = given_api_url(os.environ) or state.api_url
    services = state.services if running else []
    queues = state.queues or (configured_queues() if amqp_url else [])
    problems: dict[str, str] = {}
    with ThreadPoolExecutor(len(SERVICES) + 2) as pool:
        asked = [pool.submit(look, service) for service in services]
        depths = pool.submit(queue_depths, amqp_url, api_url, queues)
        counting = pool.submit(counts, database_url)
    looks = {service.name: each.result() for service, each in zip(services, asked, strict=True)}
    try:
        counted = counting.result()
    except psycopg2.Error as error:
        counted = Counts({}, NONE_WAITS, NONE_WAITS)
        problems["postgres"] = " ".join(str(error).split())
    if amqp_url and not depths.result():
        problems["rabbitmq"] = "cannot connect, or the queues do not exist"
    return Status(
        amqp_url=amqp_url,
        database_url=database_url,
        ui_url=state.ui_url,
        metrics={one.name: f"http://localhost:{one.port}/metrics" for one in services},
        services=[
            ServiceStatus(
                name=one.name, pid=one.pid, ready=looks[one.name].ready, restarts=one.restarts
            )
            for one in services
        ],
        queues=depths.result(),
        items=counted.items,
        for_leads=counted.for_leads,
        nobody_left=counted.nobody_left,
        refused={name: seen.refused for name, seen in looks.items() if seen.refused},
        problems=problems,
    )


def all_ready(status: Status) -> bool:
    """Are all services ready?"""
    ready = {service["name"] for service in status["services"] if service["ready"]}
    return ready >= SERVICES.keys()


def counts(database_url: str) -> Counts:
    """What `database_url` counts; no task waits for who may not read accounts, or without a URL.

    Raises:
        psycopg2.Error: the database does not answer.
    """
    if not database_url:
        return Counts({}, NONE_WAITS, NONE_WAITS)
    # The services accept SQLAlchemy's form, too.
    plain = database_url.replace("postgresql+psycopg2:", "postgresql:", 1)
    with (
        closing(psycopg2.connect(plain, connect_timeout=TIMEOUT_SECONDS)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT status, count(*) FROM item GROUP BY status")
        items = {str(status): int(count) for status, count in cursor.fetchall()}
        cursor.execute(COUNT_FOR_LEADS)
        for_leads = _total(cursor.fetchall())
        try:
            cursor.execute(COUNT_NOBODY_LEFT)
        except psycopg2.errors.InsufficientPrivilege:
            return Counts(items, for_leads, NONE_WAITS)
        return Counts(items, for_leads, _total(cursor.fetchall()))


def _total(rows: list[tuple[Any, ...]]) -> Waiting:
    """The sum of rows of workflow, count and oldest time."""
    since = min((first for _, _, first in rows), default=None)
    return Waiting(waiting=sum(count for _, count, _ in rows), since=since and since.isoformat())
