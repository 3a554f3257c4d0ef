"""The folder of a stack, HITL_HOME, and the files in it."""

import fcntl
import getpass
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from hitl.servers.processes import Record, write_private
from shared.release import ROOT, is_wheel


@dataclass
class ServiceState:
    """One service as the supervisor knows it; its readiness is asked, not stored."""

    name: str
    port: int
    pid: int | None = None
    restarts: int = 0


@dataclass
class StackState:
    """What the supervisor writes for the other commands, in `run/stack.json`."""

    phase: str = "starting"
    amqp_url: str = ""
    api_url: str | None = None
    database_url: str = ""
    ui_url: str = ""
    services: list[ServiceState] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Home:
    """The folder of one stack."""

    path: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Home":
        """HITL_HOME, relative to the current folder; else `.hitl` in the checkout. For a wheel, the
        user's state folder (XDG Base Directory Specification)."""
        state = environment.get("XDG_STATE_HOME") or "~/.local/state"
        unset = f"{state}/hitl" if is_wheel() else ROOT / ".hitl"
        given = environment.get("HITL_HOME", "").strip() or unset
        return cls(Path(given).expanduser().absolute())

    @property
    def run(self) -> Path:
        """The folder of records of running processes."""
        return self.path / "run"

    @property
    def data(self) -> Path:
        """The folder of downloaded data sets."""
        return self.path / "data"

    @property
    def supervisor_record(self) -> Path:
        """The record of this stack's supervisor."""
        return self.run / "supervisor.json"

    @property
    def reviewer_password(self) -> Path:
        """The password of the first reviewer account, `reviewer`."""
        return self.path / "reviewer-password"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.path / "logs" / f"{name}.log"

    def secret(self, name: str) -> str:
        """A random secret of this stack, created at the first call."""
        return kept_secret(self.path / "secrets" / name)

    def supervisor(self) -> Record | None:
        """The running supervisor of this home, if there is one."""
        record = Record.read(self.supervisor_record)
        return record if record is not None and record.alive() else None

    def read_state(self) -> StackState | None:
        """The state that the last supervisor wrote; None before the first start."""
        try:
            raw = json.loads((self.run / "stack.json").read_text())
            raw["services"] = [ServiceState(**service) for service in raw["services"]]
            return StackState(**raw)
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write_state(self, state: StackState) -> None:
        """Writes the state; readable by this user only, as it holds passwords."""
        write_private(self.run / "stack.json", json.dumps(asdict(state), indent=1))

    def lock(self) -> IO[str] | None:
        """The lock of this home's supervisor, held while the file is open; None if taken."""
        self.run.mkdir(parents=True, exist_ok=True)
        file = (self.run / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        os.set_inheritable(file.fileno(), False)
        return file


def user_name() -> str:
    """The user's name, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user has no name
        return f"user {os.getuid()}"


def kept_secret(path: Path) -> str:
    """The random secret in this file, created at the first call."""
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text().strip()
