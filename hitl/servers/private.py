"""What the private RabbitMQ and the private Postgres share: start, readiness, stop."""

import time
from abc import ABC, abstractmethod
from pathlib import Path

from hitl.servers.ports import is_free
from hitl.servers.processes import POLL_SECONDS, Child

START_TRIES = 3
READY_SECONDS = 60.0
# A clean stop of RabbitMQ with the management plugin holds a fixed wait of 5 s.
STOP_SECONDS = 25.0


class ServerError(RuntimeError):
    """A private server is not installed, or did not start; the text says why."""


class PrivateServer(ABC):
    """A server whose data and password stay in `home`; its ports stay the same while they are free.

    `fast` is for throwaway data: a faster stop, and less safety.
    """

    title: str
    fatal: tuple[str, ...] = ()  # in its log: another start would fail the same way

    def __init__(self, home: Path, log: Path, *, fast: bool = False) -> None:
        self.home = home
        self.log = log
        self.fast = fast
        self.stop_seconds = STOP_SECONDS
        self.password = ""
        self.ports: dict[str, int] = {}
        self.processes: list[Child] = []  # the server itself is the last

    @abstractmethod
    def start(self) -> None:
        """Start the server and return at once; raises ServerError where that is impossible."""

    @abstractmethod
    def ready(self) -> bool:
        """Does it answer?"""

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self.processes[-1].pid if self.processes else None

    def alive(self) -> bool:
        """Are all its processes running?"""
        return bool(self.processes) and all(process.alive() for process in self.processes)

    def wait_ready(self) -> None:
        """Return when the server is ready.

        Raises:
            ServerError: it did not start; the text has the end of its log.
        """
        for tries_left in reversed(range(START_TRIES)):
            deadline = time.monotonic() + READY_SECONDS
            while self.alive() and time.monotonic() < deadline:
                if self.ready():
                    return
                time.sleep(POLL_SECONDS)
            if self.alive() or not tries_left or all(map(is_free, self.ports.values())):
                break
            if self.processes and any(map(self.processes[-1].log_tail().__contains__, self.fatal)):
                break
            # Another process took one of the ports after we had looked.
            self.stop()
            self.start()
        tail = self.processes[-1].log_tail() if self.processes else ""
        self.stop()
        raise ServerError(self.failure(tail))

    def failure(self, log_tail: str) -> str:
        """Why it did not start, by the end of its log."""
        return f"{self.title} did not start; the end of {self.log}:\n{log_tail}"

    def stop(self) -> None:
        """Stop all its processes, the server first; none is left running."""
        for process in reversed(self.processes):
            process.stop(self.stop_seconds)
