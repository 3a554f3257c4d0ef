"""A stack at one look: who is ready, what waits where, what became of the items."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypedDict

import psycopg2

from hitl.servers.home import Home, StackState
from hitl.stack.fleet import SERVICES, look
from hitl.support.connection import given, given_api_url
from hitl.support.queue_depths import Depths, queue_depths
from shared.service.settings import Settings
from shared.storage.waiting_tasks import COUNT_FOR_LEADS, COUNT_NOBODY_LEFT
from shared.topology import topology
from shared.workflows.files import workflow_paths

TIMEOUT_SECONDS = 3


class ServiceStatus(TypedDict):
    """One service; `pid` is None while it is down."""

    name: str
    pid: int | None
    ready: bool
    restarts: int


class ForLeads(TypedDict):
    """Tasks that wait for somebody, and since when the first does (ISO 8601)."""

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
    for_leads: ForLeads  # people disagree about them, or flagged them
    nobody_left: ForLeads  # all who may give the second answer gave the first
    refused: dict[str, dict[str, str]]  # by service: workflows not served as their files say, why
    problems: dict[str, str]  # which server does not answer, and why: what it knows is missing


def collect(home: Home, environment: Mapping[str, str]) -> Status:
    """Ask everybody, at the same time; who does not answer is not ready or a problem."""
    running = home.supervisor() is not None
    state = home.read_state() or StackState()
    amqp_url = given("AMQP_URL", environment) or state.amqp_url
    database_url = given("DATABASE_URL", environment) or state.database_url
    api_url = given_api_url(environment) or state.api_url
    services = state.services if running else []
    queues = state.queues or (configured_queues(environment) if amqp_url else [])
    with ThreadPoolExecutor(len(SERVICES) + 3) as pool:
        ready = [pool.submit(look, service) for service in services]
        depths = pool.submit(queue_depths, amqp_url, api_url, queues)
        counted = pool.submit(counts, database_url)
        stuck = pool.submit(nobody_left, database_url)
        problems: dict[str, str] = {}
        try:
            (items, for_leads), alone = counted.result(), stuck.result()
        except psycopg2.Error as error:
            items, for_leads = {}, ForLeads(waiting=0, since=None)
            alone = for_leads
            problems["postgres"] = " ".join(str(error).split())
        if amqp_url and not depths.result():
            problems["rabbitmq"] = "no connection, or none of the queues is there"
        return Status(
            amqp_url=amqp_url,
            database_url=database_url,
            ui_url=state.ui_url,
            metrics={
                service.name: f"http://localhost:{service.port}/metrics" for service in services
            },
            services=[
                ServiceStatus(
                    name=service.name,
                    pid=service.pid,
                    ready=answer.result().ready,
                    restarts=service.restarts,
                )
                for service, answer in zip(services, ready, strict=True)
            ],
            queues=depths.result(),
            items=items,
            for_leads=for_leads,
            nobody_left=alone,
            refused={
                service.name: answer.result().refused
                for service, answer in zip(services, ready, strict=True)
                if answer.result().refused
            },
            problems=problems,
        )


def configured_queues(environment: Mapping[str, str]) -> list[str]:
    """Which queues there should be, where no stack was started from here: in containers, say."""
    settings = Settings.from_environment(environment)
    names = tuple(workflow_paths(settings.workflows_dir, settings.workflows))
    shape = topology(names, settings.retry_delays_seconds)
    return [queue.name for queue in (*shape.queues, *shape.streams)]


def all_ready(status: Status) -> bool:
    """Is every service there and ready?"""
    ready = {service["name"] for service in status["services"] if service["ready"]}
    return ready >= SERVICES.keys()


def counts(database_url: str) -> tuple[dict[str, int], ForLeads]:
    """How many items have each status, and what waits for a lead.

    Raises:
        psycopg2.Error: the database does not answer.
    """
    if not database_url:
        return {}, ForLeads(waiting=0, since=None)
    with closing(_connection(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT status, count(*) FROM item GROUP BY status")
        items = {str(status): int(count) for status, count in cursor.fetchall()}
        cursor.execute(COUNT_FOR_LEADS)
        return items, _together(cursor.fetchall())


def nobody_left(database_url: str) -> ForLeads:
    """What waits for a second person where there is none; nothing, for who may not read accounts.

    Raises:
        psycopg2.Error: the database does not answer.
    """
    if not database_url:
        return ForLeads(waiting=0, since=None)
    with closing(_connection(database_url)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(COUNT_NOBODY_LEFT)
        except psycopg2.errors.InsufficientPrivilege:
            return ForLeads(waiting=0, since=None)
        return _together(cursor.fetchall())


def _connection(database_url: str) -> "psycopg2.extensions.connection":
    # The services take SQLAlchemy's form, too.
    plain = database_url.replace("postgresql+psycopg2:", "postgresql:", 1)
    return psycopg2.connect(plain, connect_timeout=TIMEOUT_SECONDS)


def _together(rows: Sequence[tuple[Any, ...]]) -> ForLeads:
    """Rows of workflow, number and time as one."""
    since = min((first for _, _, first in rows), default=None)
    return ForLeads(waiting=sum(count for _, count, _ in rows), since=since and since.isoformat())
