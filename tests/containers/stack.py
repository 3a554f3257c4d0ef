"""How does a test drive the stack in containers? By the commands of docs/operate/containers.md."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hitl.servers.ports import free_ports
from tests.containers.engine import Engine
from tests.contract.test_compose import COMPOSE_FILE, ROOT, program

STAND_INS = Path(__file__).with_name("stand-ins.yml")
EVERY_PROFILE = ("--profile", "tools", "--profile", "demo")
PORTS = ("REVIEW", "AMQP", "RABBITMQ", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")


@dataclass(frozen=True)
class Stack:
    """docker-compose.yml in an engine of its own, with ports of its own."""

    engine: Engine
    files: Sequence[Path] = (COMPOSE_FILE,)
    ports: Mapping[str, int] = field(
        default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    )

    def compose(
        self,
        *arguments: str,
        ok: bool = True,
        stdin: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose …`; with `ok` it must end with 0."""
        named = {f"HITL_{name}_PORT": str(port) for name, port in self.ports.items()}
        files = [part for file in (*self.files, STAND_INS) for part in ("--file", file)]
        done = subprocess.run(
            [program("docker-compose"), *files, "--project-directory", ROOT,
             "--env-file", os.devnull, "--progress", "plain", *arguments],
            env={**self.engine.environment, **named, **environment},
            input=stdin, capture_output=True, text=True,
        )  # fmt: skip
        assert not ok or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def shell(self, lines: str, folder: Path) -> str:
        """Lines of the docs as they stand there, run in `folder`; each must end with 0."""
        plugin = self.engine.socket.parent / ".docker" / "cli-plugins" / "docker-compose"
        plugin.parent.mkdir(parents=True, exist_ok=True)
        if not plugin.exists():
            plugin.symlink_to(program("docker-compose"))
        files = os.pathsep.join(map(str, (*self.files, STAND_INS)))
        ports = {f"HITL_{name}_PORT": str(port) for name, port in self.ports.items()}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", lines], cwd=folder,
            env={**self.engine.environment, **ports, "COMPOSE_FILE": files,
                 "COMPOSE_ENV_FILES": os.devnull},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def up(self) -> None:
        """Everything that `docker compose up` starts; with the words of who is not healthy."""
        done = self.compose("up", "--detach", "--wait", "--wait-timeout", "600", ok=False)
        if done.returncode:
            logs = self.compose("logs", "--tail", "20").stdout
            raise AssertionError(f"{done.stderr}\n{self.compose('ps', '--all').stdout}\n{logs}")

    def delete(self) -> None:
        """The containers, the data and the passwords."""
        self.compose(*EVERY_PROFILE, "down", "--volumes")

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

    def password(self, user: str) -> str:
        """A user's of RabbitMQ, as people look it up."""
        return self.inside("rabbitmq", "cat", f"/run/hitl/broker/password-{user}")

    def amqp_url(self, user: str) -> str:
        """Where programs send and fetch."""
        return f"amqp://{user}:{self.password(user)}@127.0.0.1:{self.ports['AMQP']}/hitl"
