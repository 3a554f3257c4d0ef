"""How does a test drive the stack in containers? By the commands of docs/containers.md."""

import json
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.containers.engine import Engine
from tests.contract.test_compose import COMPOSE_FILE, ROOT, program

STAND_INS = Path(__file__).with_name("stand-ins.yml")
EVERY_PROFILE = ("--profile", "tools", "--profile", "demo")
PORTS = ("REVIEW", "AMQP", "RABBITMQ", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")


@dataclass
class Stack:
    """docker-compose.yml in an engine of its own, with ports of its own."""

    engine: Engine
    ports: Mapping[str, int]
    environment: dict[str, str] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    def compose(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose …`; with `ok` it must end with 0."""
        named = {f"HITL_{name}_PORT": str(port) for name, port in self.ports.items()}
        done = subprocess.run(
            [program("docker-compose"), "--file", COMPOSE_FILE, "--file", STAND_INS,
             "--project-directory", ROOT, "--env-file", "/dev/null", "--progress", "plain",
             *arguments],
            env={**self.engine.environment, **named, **self.environment},
            capture_output=True, text=True,
        )  # fmt: skip
        assert not ok or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def timed(self, what: str, *arguments: str) -> None:
        """The same, for the summary at the end."""
        start = time.monotonic()
        self.compose(*arguments)
        self.took[what] = time.monotonic() - start

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in a running container."""
        return self.compose("exec", "-T", service, *command).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """All that the engine knows of a service's container, ended or not."""
        container = self.compose("ps", "--all", "--quiet", service).stdout.strip()
        found: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", container))
        return found[0]

    def services(self) -> dict[str, dict[str, Any]]:
        """What compose has understood: every service of every profile."""
        shown = self.compose(*EVERY_PROFILE, "config", "--format", "json").stdout
        found: dict[str, dict[str, Any]] = json.loads(shown)["services"]
        return found

    def url(self, name: str) -> str:
        """Where a published page answers."""
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def amqp_url(self) -> str:
        """Where producers send."""
        password = self.inside("rabbitmq", "cat", "/run/hitl/broker/password")
        return f"amqp://hitl:{password}@127.0.0.1:{self.ports['AMQP']}/hitl"
