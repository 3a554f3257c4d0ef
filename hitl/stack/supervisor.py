"""Starts a whole stack in order, watches it, and stops it in order.

One process, one thread: Linux kills the children when the thread that started them ends.
"""

import logging
import os
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from types import FrameType

from hitl.access.database_roles import set_rights
from hitl.recovery.broker_rights import give_back
from hitl.servers.home import Home, StackState
from hitl.servers.private import ServerError
from hitl.servers.processes import Child, Record, escape_unencodable_output
from hitl.stack.fleet import SERVICES, STOP_SECONDS, Fleet, python_child
from hitl.stack.servers import Servers
from hitl.support.first_reviewer import ensure_first_reviewer
from shared.errors import ConfigurationError, HitlError, Overloaded
from shared.messaging.connection import declare_all
from shared.service.settings import Settings
from shared.storage.migration import migrate
from shared.topology import Topology, topology
from shared.workflows.files import configured_workflows, read_workflow_file

WATCH_SECONDS = 0.25
RETRY_SECONDS = 2.0
DECLARE_SECONDS = 5.0
REDECLARE_SECONDS = 15.0


class Stopped(Exception):
    """The stack was asked to stop while it was starting."""


def say(text: str) -> None:
    """One line for those who follow the start and the stop; none where the disk is full."""
    with suppress(OSError):
        print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


class Supervisor:
    """Starts, watches and stops one stack."""

    def __init__(self, home: Home, *, demo: bool) -> None:
        self.home = home
        self.settings = Settings.from_environment(os.environ)
        self.workflows = tuple(configured_workflows(self.settings))
        self.servers = Servers.from_environment(home, os.environ)
        self.with_demo = demo
        self.demo: Child | None = None
        self.state = StackState()
        self.fleet = Fleet(home, dict(os.environ), say)
        self.stop_signals = 0
        self.redeclare_at = 0.0
        self.restart_at: defaultdict[str, float] = defaultdict(float)  # by server; monotonic
        self.state_unwritten = False

    def run(self) -> int:
        """Until a signal comes; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            self._watch()
            code = 0
        except Stopped:
            code = 0
        except (ServerError, HitlError, OSError) as error:
            say(f"Cannot start: {error}")
            code = 1
        self._stop()
        return code

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_signals += 1

    def _start(self) -> None:
        servers = self.servers
        for server in reversed(servers.private()):
            say(f"Starting {server.title} …")
            server.start()
        self._share_addresses()
        # The model takes seconds to load, and then waits for RabbitMQ by itself.
        self.fleet.start("inference")
        if servers.postgres:
            servers.postgres.wait_ready()
        self._raise_if_stopped()
        say("Bringing the database's tables up to date …")
        migrate(servers.database_url)
        if servers.postgres:
            set_rights(servers.database_url, servers.postgres.role_passwords)
        ensure_first_reviewer(servers.database_url, self.home.reviewer_password)
        self._share_addresses()
        for name in ("review_ui", "logger", "router", "feedback"):
            self.fleet.start(name)
        self._write_state()
        if servers.rabbitmq:
            servers.rabbitmq.wait_ready()
        self._raise_if_stopped()
        self._follow_move()
        declared = self._name_queues()
        for name, why in declare_all(servers.amqp_url, declared).items():
            say(f"Workflow {name} is not served, its queues cannot be declared: {why}")
        say("Waiting for the services …")
        while self.fleet.unready():
            self._raise_if_stopped()
            self._watch_once()
            time.sleep(WATCH_SECONDS)
        self.state.phase = "ready"
        self._write_state()
        say(f"Ready. Review page: {self.state.ui_url}")
        if self.with_demo:
            self._start_demo()

    def _start_demo(self) -> None:
        environment = {**self.fleet.environment, **self.servers.addresses_for("producer")}
        self.demo = python_child(self.home, "demo", "hitl.stack.demo", environment)
        self.demo.start()

    def _raise_if_stopped(self) -> None:
        if self.stop_signals:
            raise Stopped

    def _watch(self) -> None:
        """An error, of a full disk say, is retried: running processes must keep running."""
        while not self.stop_signals:
            pause = WATCH_SECONDS
            try:
                self._watch_once()
            except (OSError, ServerError) as error:
                say(f"{error}; retrying.")
                pause = RETRY_SECONDS
            time.sleep(pause)

    def _watch_once(self) -> None:
        for server in self.servers.private():
            # At once after a long run; one that ends each time not four times a second.
            name = server.title
            if not server.alive() and time.monotonic() >= self.restart_at[name]:
                self.restart_at[name] = time.monotonic() + RETRY_SECONDS
                say(f"{name} exited; restarting it.")
                server.stop()
                server.start()
                self._follow_move()
        if self.fleet.watch() or self.state_unwritten:
            self._write_state()
        if self.demo is not None and not self.demo.alive():
            say(f"Sample items: {self.demo.log_tail(1)}")
            self.demo.kill()
            self.demo = None
        self._notice_workflows()
        self._redeclare()

    def _notice_workflows(self) -> None:
        """The services notice a new file by themselves, but may not declare its queues."""
        for path in sorted(self.settings.workflows_dir.glob("*.toml")):
            if path.stem in self.workflows or self.settings.workflows:
                continue
            try:
                read_workflow_file(path)
                shape = topology((path.stem,), self.settings.retry_delays_seconds)
                if declare_all(self.servers.amqp_url, shape, timeout_seconds=DECLARE_SECONDS):
                    continue
            except (ConfigurationError, Overloaded):
                continue  # the services log it; the next round retries
            self.workflows += (path.stem,)
            self._name_queues()
            self._write_state()
            say(f"New workflow: {path.stem}.")

    def _redeclare(self) -> None:
        """Declares what was deleted on a private broker: no service has the right to."""
        if self.servers.rabbitmq is None or time.monotonic() < self.redeclare_at:
            return
        shape = self._name_queues()
        api_url, amqp_url = self.servers.rabbitmq.api_url, self.servers.amqp_url
        with suppress(HitlError):  # the services' readiness says why
            declare_all(amqp_url, shape, timeout_seconds=DECLARE_SECONDS)
            for user in give_back(api_url, amqp_url):
                say(f"RabbitMQ restricts {user} to its routing keys again.")
        self.redeclare_at = time.monotonic() + REDECLARE_SECONDS

    def _name_queues(self) -> Topology:
        declared = topology(self.workflows, self.settings.retry_delays_seconds)
        self.state.queues = [queue.name for queue in (*declared.queues, *declared.streams)]
        return declared

    def _stop(self) -> None:
        """In the order of the flow, so that no process works for one that is gone."""
        self.state.phase = "stopping"
        with suppress(OSError):
            self._write_state()
        if self.demo is not None:
            say("Stopping the sample items …")
            self.demo.stop(self.grace_seconds())
        for name in SERVICES:
            if name in self.fleet.services:
                say(f"Stopping {name} …")
                if not self.fleet.stop(name, self.grace_seconds()):
                    say(f"{name} did not stop in time and was killed; no confirmed item is lost.")
        for server in self.servers.private():
            if server.pid is not None:
                say(f"Stopping {server.title} …")
            server.stop()
        self.state.phase = "stopped"
        with suppress(OSError):
            self._write_state()
        say("Stopped.")

    def grace_seconds(self) -> float:
        """25 s, or as long as the services may take; none after a second signal."""
        if self.stop_signals >= 2:
            return 0.0
        return max(STOP_SECONDS, self.settings.shutdown_seconds)

    def _share_addresses(self) -> tuple[str, str]:
        """Gives the servers' addresses to the services and to the other commands."""
        servers = self.servers
        addresses = (servers.amqp_url, servers.database_url)
        self.fleet.own = {name: servers.addresses_for(name) for name in SERVICES}
        self.fleet.environment |= {
            "HITL_HOME": str(self.home.path),
            "HITL_SESSION_SECRET": self.home.secret("session-secret"),
            "HITL_PANEL_SALT": self.home.secret("panel-salt"),
            # Its default is one folder under /tmp, which another user may own.
            "GRADIO_TEMP_DIR": str(self.home.path / "gradio"),
        }
        self.state.amqp_url, self.state.database_url = addresses
        self.state.api_url = servers.api_url
        return addresses

    def _follow_move(self) -> None:
        """Restarts the services where a server has moved to another port: its own was taken."""
        known = (self.state.amqp_url, self.state.database_url)
        if self._share_addresses() == known:
            return
        for name in SERVICES:
            if name in self.fleet.services:
                self.fleet.stop(name, self.grace_seconds())
                self.fleet.start(name)
        if self.demo is not None:
            self.demo.kill()
            self._start_demo()
        self._write_state()

    def _write_state(self) -> None:
        self.state_unwritten = True
        services = self.fleet.services
        self.state.services = [services[name].state for name in SERVICES if name in services]
        review = services.get("review_ui")
        if review is not None:
            self.state.ui_url = f"http://localhost:{review.state.port}/"
        self.home.write_state(self.state)
        self.state_unwritten = False


def main() -> int:
    """Supervises the stack of HITL_HOME until a signal comes."""
    logging.basicConfig(level=logging.ERROR)  # the steps are for people; the services log details
    home = Home.from_environment(os.environ)
    lock = home.lock()
    if lock is None:
        print("This stack is already running or starting: see `hitl status`.", flush=True)
        return 1
    with lock:
        # First, or the "ready" of a killed supervisor would be mistaken for ours.
        home.write_state(StackState())
        record = Record.of(os.getpid())
        if record is not None:
            record.write(home.supervisor_record)
        try:
            return Supervisor(home, demo="--no-demo" not in sys.argv).run()
        except HitlError as error:
            print(f"Cannot start: {error}", flush=True)
            return 1
        finally:
            home.supervisor_record.unlink(missing_ok=True)


if __name__ == "__main__":
    escape_unencodable_output()
    sys.exit(main())
