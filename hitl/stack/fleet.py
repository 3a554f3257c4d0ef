"""The pipeline's processes: which there are, on which ports, and what happens when one dies."""

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

# In the order in which they stop: whoever puts work in goes before whoever takes it out.
SERVICES = {
    "inference": ("HITL_INFERENCE_PORT", 9101),
    "router": ("HITL_ROUTER_PORT", 9102),
    "feedback": ("HITL_FEEDBACK_PORT", 9105),
    "review_ui": ("HITL_REVIEW_PORT", 7860),
    "logger": ("HITL_LOGGER_PORT", 9104),
}
STOP_SECONDS = 25.0
PROBE_SECONDS = 3.0  # a busy machine is slow to answer, and no less ready
FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0  # after so long a life, the next death counts as a first one


@dataclass
class Service:
    """One supervised program: its process, and when to start it again."""

    state: ServiceState
    child: Child
    deaths_in_a_row: int = 0
    started_at: float = 0.0
    start_again_at: float | None = None


@dataclass
class Fleet:
    """The services of one stack. `environment` is what all of them share, `own` what one has."""

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
            self.say(f"Port {wanted} is taken: {name} uses {port}.")
        self.environment[key] = str(port)
        environment = {**self.environment, **self.own.get(name, {})}
        child = python_child(self.home, name, f"services.{name}", environment)
        if running is None:
            running = self.services[name] = Service(ServiceState(name, port), child)
        running.child, running.state.port = child, port
        running.started_at, running.start_again_at = time.monotonic(), None
        child.start()
        running.state.pid = child.pid

    def watch(self) -> bool:
        """Start dead services again, later and later; True if anything changed."""
        changed = False
        now = time.monotonic()
        for name, service in self.services.items():
            if service.start_again_at is not None:
                if now >= service.start_again_at:
                    service.state.restarts += 1
                    self.start(name)
                    changed = True
            elif not service.child.alive():
                self._schedule(service, now)
                changed = True
        return changed

    def _schedule(self, service: Service, now: float) -> None:
        if now - service.started_at > STEADY_SECONDS:
            service.deaths_in_a_row = 0
        delay = pause_after(service.deaths_in_a_row, FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS)
        process = service.child.process
        code = process.returncode if process else None
        service.deaths_in_a_row += 1
        service.child.kill()  # what it may have left in its group
        service.state.pid = None
        service.start_again_at = now + delay
        last = service.child.log_tail(1)
        why = "" if last.startswith("{") else last  # a JSON line is no last word, only the last
        self.say(f"{service.state.name} ended ({code}); starting it again in {delay:g} s. {why}")

    def unready(self) -> list[str]:
        """The services that do not say that they are ready."""
        return [
            name
            for name, service in self.services.items()
            if not (service.child.alive() and look(service.state).ready)
        ]

    def stop(self, name: str, grace_seconds: float) -> bool:
        """Stop one service; True if it went by itself."""
        service = self.services.pop(name)
        return service.child.stop(grace_seconds)


def python_child(home: Home, name: str, module: str, environment: Mapping[str, str]) -> Child:
    """A module of this project as a process of its own, with its own log."""
    return Child(
        name,
        [sys.executable, "-P", "-m", module],
        {**environment, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        home.log(name),
        home.run / f"{name}.json",
        cwd=Path.cwd(),  # relative paths in the environment mean where the user stands
    )


class Look(NamedTuple):
    """What a service says of itself: whether it is ready, and which workflows it does not serve as
    their files say, and why."""

    ready: bool
    refused: dict[str, str]


def look(service: ServiceState) -> Look:
    """Asks a service; one that does not answer is not ready, and what another process answers on
    its port is no answer."""
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
