"""How does the whole pipeline run, under load, in a way that it can be hurt?

Servers of the test's own behind proxies, two of each service, a producer that counts only what was
confirmed, and a reviewer. Whatever ends is started again, as any supervisor would.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg2
from sqlalchemy.orm import Session

from hitl.access.broker_users import TUNABLES
from hitl.servers.installed import rabbitmq_program
from hitl.servers.ports import free_ports
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.rabbitmq import PrivateRabbitMQ
from services.review_ui.auth.accounts import Accounts
from shared.clock import utc_now
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.storage.database import connect
from shared.storage.migration import migrate
from tests.chaos.proxy import Proxy
from tests.support.amqp_client import until

ROOT = Path(__file__).parents[2]
CRASH = Path(__file__).parent / "crash"
PASSWORD = "a long password for tests"
HEARTBEAT_SECONDS = 4  # so that a silent connection is noticed within a round
COMMANDS = {
    "inference": "tests.chaos.scorer",
    "router": "services.router",
    "router-2": "services.router",
    "logger": "services.logger",
    "logger-2": "services.logger",
    "review_ui": "services.review_ui",
}
PORT_KEYS = {
    "inference": "INFERENCE",
    "router": "ROUTER",
    "logger": "LOGGER",
    "review_ui": "REVIEW",
}
WORKFLOW = """
[workflow]
name = "sentiment"
labels = ["negative", "positive"]
[policy]
threshold = 0.85
"""


class Pipeline:
    """The servers, the services and what is told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = PrivateRabbitMQ(folder / "rabbitmq", folder / "rabbitmq.log", fast=True)
        # Not `fast`: a commit that was answered has to be on the disk.
        self.postgres = PrivatePostgres(folder / "postgres", folder / "postgres.log")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ended: Counter[str] = Counter()  # "service: exit code"
        self._wanted: dict[str, dict[str, str]] = {}  # service → what its environment has more
        self._doomed: dict[str, subprocess.Popen[bytes]] = {}  # to die at a point of its work
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def start(self) -> None:
        """Servers, tables, services; returns when all are ready."""
        self.broker.start()
        self.postgres.start()
        self.broker.wait_ready()
        self.postgres.wait_ready()
        migrate(self.postgres.database_url)
        self.amqp_proxy = Proxy(self.broker.ports["amqp"])
        self.postgres_proxy = Proxy(self.postgres.port)
        workflows = self.folder / "workflows"
        workflows.mkdir()
        (workflows / "sentiment.toml").write_text(WORKFLOW)
        self.ports = dict(zip(COMMANDS, free_ports(len(COMMANDS)), strict=True))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HITL_")}
        self._environment = {
            **kept,
            "AMQP_URL": self.amqp_url,
            "DATABASE_URL": _moved(self.postgres.database_url, self.postgres_proxy.port),
            "HITL_HOME": str(self.folder),
            "HITL_WORKFLOWS_DIR": str(workflows),
            "HITL_SESSION_SECRET": secrets.token_hex(16),
            "HITL_PANEL_SALT": "a-salt-for-tests-only",
            "HITL_UNDO_SECONDS": "0",
            "HITL_RETRY_DELAYS_SECONDS": "1,2",
            "HITL_INFERENCE_PREFETCH": "1000",
            "PYTHONUNBUFFERED": "1",
        }
        for name in COMMANDS:
            self._start(name)
        for name in COMMANDS:
            until(lambda name=name: self.ready(name), seconds=90, what=f"{name} ready")  # type: ignore[misc]
        self._supervisor.start()

    @property
    def amqp_url(self) -> str:
        """RabbitMQ by way of the proxy."""
        moved = _moved(self.broker.amqp_url, self.amqp_proxy.port)
        return f"{moved}?heartbeat={HEARTBEAT_SECONDS}"

    def ready(self, name: str) -> bool:
        """What the service's /readyz says."""
        try:
            url = f"http://127.0.0.1:{self.ports[name]}/readyz"
            return httpx.get(url, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    # -- services ----------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """kill -9; it is started again."""
        self.processes[name].kill()

    def crash_next(self, name: str, point: str, after: int) -> None:
        """Kills it; it comes back, dies once at `point`, and comes back for good."""
        with self._lock:
            self._wanted[name] = {
                "CHAOS_CRASH": point,
                "CHAOS_CRASH_AFTER": str(after),
                "PYTHONPATH": str(CRASH),
            }
            self.kill(name)

    def doomed(self, name: str) -> bool:
        """Whether a death of `crash_next` is still ahead of it."""
        with self._lock:
            process = self._doomed.get(name)
            return name in self._wanted or (process is not None and process.poll() is None)

    def terminate(self, name: str) -> int:
        """SIGTERM, as a deployment would; its exit code. It is started again."""
        with self._lock:
            process = self.processes[name]
            process.send_signal(signal.SIGTERM)
            code = process.wait(40)
            self._start(name)
            return code

    def log(self, name: str) -> str:
        """All that a service has said."""
        return (self.folder / f"{name}.log").read_text()

    def _start(self, name: str, **more: str) -> None:
        service = name.removesuffix("-2")
        environment = {
            **self._environment,
            f"HITL_{PORT_KEYS[service]}_PORT": str(self.ports[name]),
            **more,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", COMMANDS[name]],
                cwd=ROOT, env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def _supervise(self) -> None:
        while not self._stopping.wait(0.2):
            with self._lock:
                for name, process in self.processes.items():
                    code = process.poll()
                    if code is not None and not self._stopping.is_set():
                        self.ended[f"{name}: {code}"] += 1
                        crash = self._wanted.pop(name, {})
                        self._start(name, **crash)
                        if crash:
                            self._doomed[name] = self.processes[name]

    # -- servers -----------------------------------------------------------------------------

    def restart_broker(self) -> None:
        """kill -9 of the node, and its start on the same data."""
        assert self.broker.pid is not None
        os.kill(self.broker.pid, signal.SIGKILL)
        self.broker.stop()
        self.broker.start()
        self.broker.wait_ready()
        self.amqp_proxy.target = self.broker.ports["amqp"]

    def restart_postgres(self, *, kill: bool = False) -> None:
        """A fast shutdown (open transactions are rolled back), or kill -9, and its start."""
        if kill:
            assert self.postgres.pid is not None
            os.kill(self.postgres.pid, signal.SIGKILL)
            time.sleep(0.5)  # its children notice
        self.postgres.stop()
        self.postgres.start()
        self.postgres.wait_ready()
        self.postgres_proxy.target = self.postgres.port

    def rabbitmqctl(self, *command: str) -> None:
        """As an operator would."""
        subprocess.run(
            [str(rabbitmq_program("rabbitmqctl")), *command],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.broker.home / "user"),
                "LANG": "C.UTF-8",
                "ERL_EPMD_PORT": str(self.broker.ports["epmd"]),
                "RABBITMQ_NODENAME": (self.broker.home / "node-name").read_text(),
                "RABBITMQ_CONF_ENV_FILE": str(self.broker.home / "config" / "environment"),
            },
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip

    def limit_length(self, queue: str, most: int | None) -> None:
        """Lets no more than `most` messages into a queue; None lifts the limit."""
        path = f"{self.broker.api_url}/policies/hitl/full"
        if most is None:
            httpx.delete(path, timeout=10).raise_for_status()
            return
        definition: dict[str, Any] = {**TUNABLES["definition"], "max-length": most}  # type: ignore[dict-item]
        body = {"pattern": f"^{queue}$", "apply-to": "queues", "priority": 9}
        httpx.put(path, json={**body, "definition": definition}, timeout=10).raise_for_status()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query finds, not by way of the proxy."""
        connection = psycopg2.connect(self.postgres.database_url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def stop(self) -> None:
        """Ends everything."""
        self._stopping.set()
        with self._lock:
            for process in self.processes.values():
                process.kill()
                process.wait()
        self.broker.stop()
        self.postgres.stop()
        for proxy in (getattr(self, "amqp_proxy", None), getattr(self, "postgres_proxy", None)):
            if proxy is not None:
                proxy.close()


class Producer(threading.Thread):
    """Sends items until told to stop, a second's worth at once, so that there is always something
    on its way; `confirmed` has the ids of those that the broker took."""

    def __init__(self, pipeline: Pipeline, items_per_second: int) -> None:
        super().__init__(daemon=True)
        self._broker = Broker(pipeline.amqp_url, name="producer")
        self._window = items_per_second
        self._stopping = threading.Event()
        self._departing = threading.Condition()
        self._run = secrets.token_hex(3)
        self.confirmed: list[str] = []

    def wait_for_a_window(self) -> None:
        """Returns when the next window is on its way (or the producer is held up)."""
        with self._departing:
            self._departing.wait(5)

    def run(self) -> None:
        self._broker.start()
        while not self._stopping.is_set():
            started = time.monotonic()
            first = len(self.confirmed)
            ids = [f"{self._run}-{number}" for number in range(first, first + self._window)]
            with self._departing:
                self._departing.notify_all()
            # It returns when all are confirmed, however often they had to be sent.
            self._broker.publish([self._item(item) for item in ids], timeout_seconds=150)
            self.confirmed += ids
            self._stopping.wait(max(0.0, started + 1 - time.monotonic()))
        self._broker.close()

    def _item(self, item: str) -> Outgoing:
        body = json.dumps({"id": item, "text": f"a text about {item}"})
        return Outgoing("hitl.items", "sentiment", body.encode(), message_id=item)

    def stop(self) -> None:
        """Returns when the last publish is answered."""
        self._stopping.set()
        self.join(160)
        assert not self.is_alive(), "the producer's last publish is answered"


class Reviewer(threading.Thread):
    """Answers every task by the page's own API, and sends an answer again until it is heard."""

    def __init__(self, pipeline: Pipeline, name: str = "reviewer") -> None:
        super().__init__(daemon=True)
        self._pipeline = pipeline
        self._login = {"name": name, "password": PASSWORD}
        self._stopping = threading.Event()
        self.at_limit = 0  # claims refused since answers to others were lost on the way
        engine = connect(pipeline.postgres.database_url, pool_size=1)
        with Session(engine) as session, session.begin():
            Accounts(utc_now).create(session, name, "reviewer", PASSWORD)
        engine.dispose()

    def run(self) -> None:
        url = f"http://127.0.0.1:{self._pipeline.ports['review_ui']}"
        with httpx.Client(base_url=url, headers={"Origin": url}, timeout=20) as browser:
            while not self._stopping.is_set():
                if not self._logged_in(browser) or not self._answer_some(browser):
                    self._stopping.wait(0.3)

    def _logged_in(self, browser: httpx.Client) -> bool:
        if browser.cookies:
            return True
        try:
            return browser.post("/api/v1/login", json=self._login).status_code == 200
        except httpx.HTTPError:
            return False

    def _answer_some(self, browser: httpx.Client) -> bool:
        """Whether there was anything to answer."""
        try:
            claimed = browser.post("/api/v1/tasks/claim", json={"count": 20})
            self.at_limit += claimed.status_code == 409
            tasks = claimed.json()["tasks"] if claimed.status_code == 200 else []
        except (httpx.HTTPError, ValueError):
            return False
        for task in tasks:
            answer = {
                "key": str(uuid.uuid4()),
                "lease_token": task["lease_token"],
                "action": "correct",
                "label": "positive",
            }
            while not self._stopping.is_set():
                try:
                    path = f"/api/v1/tasks/{task['id']}/decision"
                    if browser.post(path, json=answer).status_code < 500:
                        break  # taken, or the lease is gone: then it is offered again
                except httpx.HTTPError:
                    pass
                self._stopping.wait(0.3)
        return bool(tasks)

    def stop(self) -> None:
        """Returns when it has put down its work."""
        self._stopping.set()
        self.join(30)


@contextmanager
def running() -> Iterator[Pipeline]:
    """The whole pipeline for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="hitl-chaos-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        pipeline = Pipeline(Path(folder))
        try:
            pipeline.start()
            yield pipeline
        finally:
            pipeline.stop()


def _moved(url: str, port: int) -> str:
    """The same address on another port."""
    before, _, after = url.rpartition("@")
    return f"{before}@127.0.0.1:{port}/{after.partition('/')[2]}"
