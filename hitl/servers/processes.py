"""Starts a child process, recognises it again after a crash, and stops it for certain.

Every child gets its own session, dies with its parent (`setpriv --pdeathsig`, Linux) and leaves a
record of its pid and start time, so that the next start can tell an orphan of ours from a stranger.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

POLL_SECONDS = 0.05
RESEND_SECONDS = 2.0


def escape_unencodable_output() -> None:
    """Writes characters that the locale lacks as \\u2026, as on stderr, instead of failing."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def start_ticks(pid: int) -> int | None:
    """Clock ticks after boot at which `pid` started (proc(5), stat, 22); None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name in parentheses may itself contain spaces and parentheses.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner can read, never visible half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


@dataclass(frozen=True)
class Record:
    """A process, identified so that a recycled pid cannot be mistaken for it."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Record | None":
        """The record of a running process; None if it is gone."""
        started = start_ticks(pid)
        return None if started is None else cls(pid, started, boot_id())

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        """The record in a file; None if there is none, or an incomplete one."""
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Writes the record for the next start."""
        write_private(path, json.dumps(self.__dict__))

    def alive(self) -> bool:
        """Is this very process, not another with its pid, running?"""
        return self.boot == boot_id() and start_ticks(self.pid) == self.started

    def stop(self, stop_signal: signal.Signals, grace_seconds: float) -> None:
        """Signals a process that is not our child, waits, and kills it if it does not end."""
        for number, patience in ((stop_signal, grace_seconds), (signal.SIGKILL, 5.0)):
            if not self.alive():
                return
            os.kill(self.pid, number)
            deadline = time.monotonic() + patience
            while self.alive() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)


def boot_id() -> str:
    """The id of the machine's boot: start times may repeat after a reboot, this does not."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass
class Child:
    """One child process: how to start it, where it logs, how to stop it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    record: Path
    stop_signal: signal.Signals = signal.SIGTERM
    # When we die by kill -9. Erlang drops a SIGTERM while it boots; SIGKILL always works, and
    # loses nothing that was confirmed or committed.
    orphan_signal: signal.Signals = signal.SIGKILL
    user: str | None = None
    cwd: Path = Path("/")
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, orphan_grace_seconds: float = 25.0) -> None:
        """Starts it, after stopping an orphan of an earlier run.

        Call from a thread that lives as long as the child: Linux sends the parent-death signal when
        the *thread* that forked it ends (prctl(2), PR_SET_PDEATHSIG).
        """
        orphan = Record.read(self.record)
        if orphan is not None:
            orphan.stop(self.stop_signal, orphan_grace_seconds)
        argv = ["setpriv", "--pdeathsig", self.orphan_signal.name.removeprefix("SIG")]
        if self.user is not None:
            argv += [f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # A server's error may quote a text: not for the machine's other users.
        private = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(private, "ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--", *self.argv],
                env=dict(self.env),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = Record.of(self.process.pid)
        if record is not None:
            with contextlib.suppress(OSError):  # a full disk: it runs nevertheless
                record.write(self.record)

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process is not None and self.alive() else None

    def alive(self) -> bool:
        """Is it running? (Reaps it when it is not.)"""
        return self.process is not None and self.process.poll() is None

    def stop(self, grace_seconds: float) -> bool:
        """Asks it to stop, waits, kills the rest of its group; True if it ended in time."""
        if self.process is None:
            return True
        deadline = time.monotonic() + grace_seconds
        while self.process.poll() is None and (left := deadline - time.monotonic()) > 0:
            # Repeated: a process may drop a signal while it starts.
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(min(left, RESEND_SECONDS))
            except subprocess.TimeoutExpired:
                continue
        clean = self.process.poll() is not None
        self.kill()
        return clean

    def kill(self) -> None:
        """Kills it and every process left in its group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.record.unlink(missing_ok=True)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, for an error message."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
