"""The whole pipeline: five processes, on a virtual host and a database of the test's own."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy.orm import Session

from hitl.servers.ports import free_ports
from services.review_ui.auth.accounts import Accounts
from shared.clock import utc_now
from shared.storage.database import connect
from tests.support.amqp_client import until

ROOT = Path(__file__).parents[2]
SERVICES = ("inference", "router", "feedback", "review_ui", "logger")
READY_SECONDS = 90.0  # the model loads in a few seconds; the machine may be busy
PASSWORD = "a long password for tests"


@dataclass
class Pipeline:
    """Running services and where they are; `database` and `amqp_url` are the tests' own."""

    amqp_url: str
    database_url: str
    ports: dict[str, int]
    logs: Path
    environment: dict[str, str]
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, service: str) -> None:
        """Start one service; its log is appended to."""
        with (self.logs / f"{service}.log").open("ab") as log:
            self.processes[service] = subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                cwd=ROOT, env={**self.environment, **self.own.get(service, {})},
                stdout=log, stderr=log,
            )  # fmt: skip

    def ready(self, service: str) -> bool:
        """What /readyz says; fails the test when the process has ended."""
        ended = self.processes[service].poll()
        assert ended is None, f"{service} ended with {ended}:\n{self.log(service)[-3000:]}"
        return self.page(service, "/readyz")[0] == 200

    def wait_ready(self, *services: str) -> None:
        """Returns when all of these are ready."""
        for service in services:
            until(partial(self.ready, service), seconds=READY_SECONDS, what=f"{service} ready")

    def page(self, service: str, path: str) -> tuple[int, str]:
        """Status and body of one of the operations pages; 0 where nothing answers."""
        try:
            with urllib.request.urlopen(self.url(service) + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def url(self, service: str) -> str:
        """The service's address."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def log(self, service: str) -> str:
        """All that a service has said."""
        return (self.logs / f"{service}.log").read_text()

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with (
            closing(psycopg2.connect(self.database_url)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            return cursor.fetchall()

    def count(self, statement: str, *values: object) -> int:
        """The one number that a query finds."""
        return int(self.rows(statement, *values)[0][0])

    def stop(self, *services: str) -> dict[str, int]:
        """SIGTERM; the exit codes by service, or -9 for one that had to be killed."""
        for service in services:
            self.processes[service].send_signal(signal.SIGTERM)
        codes = {}
        for service in services:
            process = self.processes.pop(service)
            try:
                codes[service] = process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                codes[service] = -9
        return codes

    def add_reviewer(self, name: str, *workflows: str) -> None:
        """Somebody who can log in with PASSWORD; sees all workflows where none is named."""
        engine = connect(self.database_url, pool_size=1)
        try:
            with Session(engine) as session, session.begin():
                Accounts(utc_now).create(session, name, "reviewer", PASSWORD, workflows)
        finally:
            engine.dispose()


@contextmanager
def running(
    amqp_url: str,
    database_url: str,
    folder: Path,
    services: Sequence[str] = SERVICES,
    own: Mapping[str, Mapping[str, str]] | None = None,
    /,
    **settings: str,
) -> Iterator[Pipeline]:
    """All services, or those named, ready; stopped in order at the end, and each must end well.
    `own`: what one service alone finds in its environment."""
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
        "AMQP_URL": amqp_url,
        "DATABASE_URL": database_url,
        "HITL_HOME": str(folder),
        "HITL_INFERENCE_PORT": str(ports["inference"]),
        "HITL_ROUTER_PORT": str(ports["router"]),
        "HITL_FEEDBACK_PORT": str(ports["feedback"]),
        "HITL_REVIEW_PORT": str(ports["review_ui"]),
        "HITL_LOGGER_PORT": str(ports["logger"]),
        "HITL_SESSION_SECRET": "a-secret-for-tests-only",
        "HITL_PANEL_SALT": "a-salt-for-tests-only",
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    pipeline = Pipeline(amqp_url, database_url, ports, folder, environment, own or {})
    try:
        for service in services:
            pipeline.start(service)
        pipeline.wait_ready(*services)
        yield pipeline
        codes = pipeline.stop(*tuple(pipeline.processes))
        assert set(codes.values()) == {0}, f"every service ends well on SIGTERM: {codes}"
    finally:
        for process in pipeline.processes.values():
            process.kill()
            process.wait()
