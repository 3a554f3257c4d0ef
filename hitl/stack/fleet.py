"""The pipeline's services as processes: their ports, and their restart after a crash."""

import http.client
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hitl.servers.home import Home, ServiceState
from hitl.servers.ports import port_from
from hitl.servers.processes import Child
from shared.backoff import pause_after
from shared.release import ROOT

# In the order in which they stop: a producer of work before its consumers.
SERVICES = {
    "inference": ("HITL_INFERENCE_PORT", 9101),
    "router": ("HITL_ROUTER_PORT", 9102),
    "feedback": ("HITL_FEEDBACK_PORT", 9105),
    "review_ui": ("HITL_REVIEW_PORT", 7860),
    "logger": ("HITL_LOGGER_PORT", 9104),
}
STOP_SECONDS = 25.0
PROBE_SECONDS = 3.0  # a service on a busy machine is slow to answer, and still ready
FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0  # after running so long, the next exit counts as a first one


@dataclass
class Service:
    """One supervised program: its process, and when to restart it."""

    state: ServiceState
    child: Child
    exits_in_a_row: int = 0
    started_at: float = 0.0
    restart_at: float | None = None


@dataclass
class Fleet:
    """The services of one stack: the environment that they share, and each one's `own`."""

    home: Home
    environment: dict[str, str]
    say: Callable[[str], None]
    own: dict[str, dict[str, str]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one service, on its own port or the next free one."""
        key, default = SERVICES[name]
        running = self.services.get(name)
        wanted = running.state.port if running else int(self.environment.get(key) or default)
        port = port_from(wanted, f"{self.home.path} {name}")
        if port != wanted and wanted:
            self.say(f"Port {wanted} is in use: {name} listens on {port}.")
        self.environment[key] = str(port)
        environment = {**self.environment, **self.own.get(name, {})}
        child = python_child(self.home, name, f"services.{name}", environment)
        if running is None:
            running = self.services[name] = Service(ServiceState(name, port), child)
        running.child, running.state.port = child, port
        running.started_at, running.restart_at = time.monotonic(), None
        child.start()
        running.state.pid = child.pid

    def watch(self) -> bool:
        """Restarts services that have exited, with a growing delay; True if anything changed."""
        changed = False
        now = time.monotonic()
        for name, service in self.services.items():
            if service.restart_at is not None:
                if now >= service.restart_at:
                    service.state.restarts += 1
                    self.start(name)
                    changed = True
            elif not service.child.alive():
                self._schedule(service, now)
                changed = True
        return changed

    def _schedule(self, service: Service, now: float) -> None:
        if now - service.started_at > STEADY_SECONDS:
            service.exits_in_a_row = 0
        delay = pause_after(service.exits_in_a_row, FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS)
        process = service.child.process
        code = process.returncode if process else None
        service.exits_in_a_row += 1
        service.child.kill()  # processes that it may have left in its group
        service.state.pid = None
        service.restart_at = now + delay
        last = service.child.log_tail(1)
        why = "" if last.startswith("{") else last  # a JSON line is ordinary logging, no reason
        self.say(f"{service.state.name} exited ({code}); restarting it in {delay:g} s. {why}")

    def unready(self) -> list[str]:
        """The services that do not answer that they are ready."""
        return [
            name
            for name, service in self.services.items()
            if not (service.child.alive() and look(service.state).ready)
        ]

    def stop(self, name: str, grace_seconds: float) -> bool:
        """Stops one service; True if it ended in time."""
        return self.services.pop(name).child.stop(grace_seconds)


def python_child(home: Home, name: str, module: str, environment: Mapping[str, str]) -> Child:
    """A module of this project as a process of its own, with its own log."""
    return Child(
        name,
        [sys.executable, "-P", "-m", module],
        {**environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        home.log(name),
        home.run / f"{name}.json",
        cwd=Path.cwd(),  # relative paths in the environment are relative to the user's folder
    )


class Look(NamedTuple):
    """A service's readiness, and the workflows that it does not serve as configured, and why."""

    ready: bool
    refused: dict[str, str]


def look(service: ServiceState) -> Look:
    """Asks a service's `/readyz`; without an answer, or with another process's, it is not ready."""
    probe = http.client.HTTPConnection("127.0.0.1", service.port, timeout=PROBE_SECONDS)
    try:
        probe.request("GET", "/readyz")
        answer = probe.getresponse()
        told = json.loads(answer.read())
        if told["pid"] != service.pid:
            return Look(False, {})
        return Look(answer.status == http.client.OK, dict(told["refused"]))
    except (OSError, http.client.HTTPException, LookupError, ValueError, TypeError):
        return Look(False, {})
    finally:
        probe.close()
