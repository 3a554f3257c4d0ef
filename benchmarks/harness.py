"""What does every measurement need? Servers of its own, rounds, medians with their spread."""

import os
import platform
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from hitl.servers.postgres import PrivatePostgres
from hitl.servers.rabbitmq import PrivateRabbitMQ

ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")


class Spread(NamedTuple):
    """The median over the rounds, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Three significant digits, with thousands apart; counts as they are."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours over theirs, round by round: what slows the machine in a round slows both."""
    return Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratios(name: str, spread: Spread) -> dict[str, float]:
    """A ratio as a result says it: its median, and how far the rounds lie apart."""
    return {
        name: round(spread.median, 3),
        f"{name}_low": round(spread.low, 3),
        f"{name}_high": round(spread.high, 3),
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat, 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM (proc(5), statm, 2)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Servers:
    """A broker and, where asked for, a database, both with their default durability."""

    rabbitmq: PrivateRabbitMQ
    postgres: PrivatePostgres | None
    home: Path

    @property
    def amqp_url(self) -> str:
        return self.rabbitmq.amqp_url

    @property
    def database_url(self) -> str:
        assert self.postgres is not None
        return self.postgres.database_url

    @property
    def broker_pid(self) -> int:
        pid = self.rabbitmq.pid
        assert pid is not None
        return pid


@contextmanager
def processes(
    commands: Sequence[Sequence[str]], servers: Servers, **settings: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """These programs on these servers, ended afterwards. What they say is in `program.log`.

    Raises:
        SystemExit: the measurement said TimeoutError; with the end of the log.
    """
    log = servers.home / "program.log"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
        "AMQP_URL": servers.amqp_url,
        "DATABASE_URL": servers.database_url if servers.postgres else "",
        "HITL_HOME": str(servers.home),
        "HITL_LOG_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    started: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as said:
        try:
            for command in commands:
                started.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said)
                )
            yield started
        except TimeoutError as error:
            codes = [process.poll() for process in started]
            raise SystemExit(
                f"{commands[0]}: {error}; exit codes {codes}\n{log.read_text()[-2000:]}"
            ) from None
        finally:
            for process in started:
                process.terminate()
            for process in started:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextmanager
def servers(*, database: bool = False) -> Iterator[Servers]:
    """Fresh servers, gone afterwards. The database syncs every commit to disk."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        rabbitmq = PrivateRabbitMQ(home / "rabbitmq", home / "rabbitmq.log", fast=True)
        postgres = PrivatePostgres(home / "postgres", home / "postgres.log") if database else None
        try:
            rabbitmq.start()
            if postgres is not None:
                postgres.start()
                postgres.wait_ready()
            rabbitmq.wait_ready()
            yield Servers(rabbitmq, postgres, home)
        finally:
            rabbitmq.stop()
            if postgres is not None:
                postgres.stop()


def machine() -> str:
    """One line: what these numbers were measured on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {_system()}, "
        f"Python {platform.python_version()}, pika {version('pika')}"
    )


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
