"""Does a newcomer's checkout start with one command, keep itself up, and leave nothing behind?"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest

from shared.topology import POLICY_STREAM
from tests.conftest import Postgres, RabbitMQ
from tests.support.amqp_client import outsider

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
SECOND_START_SECONDS = 20.0
SERVICES = {"inference", "router", "feedback", "review_ui", "logger"}


@dataclass
class Stack:
    """A checkout and a home of its own, driven through the same commands that people use."""

    checkout: Path
    home: Path
    as_user: list[str] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one of bin/*, from a folder that is not the checkout."""
        mine = ("HITL_", "AMQP_URL", "DATABASE_URL")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(mine)}
        return subprocess.run(
            [*self.as_user, str(self.checkout / "bin" / command[0]), *command[1:]],
            env=environment
            | {"HITL_HOME": str(self.home), "HOME": str(self.home.parent)}
            | self.given,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=400,
        )

    def up(self) -> None:
        """Start it without sample items and wait until it is ready."""
        done = self.run("up", "--detach", "--no-demo")
        assert done.returncode == 0, done.stdout + done.stderr

    def down(self) -> None:
        """Stop it."""
        done = self.run("down")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """What a program sees."""
        found: dict[str, Any] = json.loads(self.run("hitl", "status", "--json").stdout)
        return found

    def service(self, name: str) -> dict[str, Any]:
        """One service's line of the status."""
        return next(s for s in self.status()["services"] if s["name"] == name)

    def ports(self) -> set[int]:
        """Every port that the status names."""
        status = self.status()
        urls = [status["amqp_url"], status["database_url"], status["ui_url"]]
        urls += status["metrics"].values()
        return {int(url.rpartition(":")[2].partition("/")[0]) for url in urls}

    def processes(self) -> list[str]:
        """The command lines of all processes that have anything to do with this home."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
                everything = command + (process / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(self.home) in everything and int(process.name) != os.getpid():
                words = command.replace(bytes(1), b" ").decode(errors="replace")
                found.append(f"{process.name} {words}")
        return found


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Does it become true in time?"""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.5)
    return condition()


def restarted(stack: Stack, service: dict[str, Any]) -> bool:
    """Is another process in the place of this one, and ready?"""
    now = stack.service(service["name"])
    return bool(now["restarts"] > service["restarts"] and now["ready"])


def others_load() -> float:
    """How many times slower this machine is for us, because of what else runs on it; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def listens(port: int) -> bool:
    """Is anybody there?"""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def folder(rabbitmq: RabbitMQ, postgres: Postgres) -> Iterator[Path]:
    """A folder that every user may enter; asks for the servers only to know they are installed."""
    with tempfile.TemporaryDirectory(prefix="hitl-stack-", ignore_cleanup_errors=True) as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def checkout(folder: Path) -> Path:
    """A fresh copy of the sources, as git would clone them, in a path with spaces."""
    copy = folder / "a path with spaces" / "pipeline"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def only_stack(checkout: Path) -> Iterator[Stack]:
    """The checkout's stack, stopped at the end of all tests where the last one has not done it."""
    stack = Stack(checkout, checkout.parent / "a home")
    try:
        yield stack
    finally:
        stack.down()


@pytest.fixture
def stack(only_stack: Stack) -> Stack:
    """The checkout's stack, running; the same data for all tests, as for a user."""
    if only_stack.run("hitl", "status").returncode:
        only_stack.run("down")  # what a failed test may have left half-running
        only_stack.up()
    return only_stack


def test_a_fresh_checkout_is_up_and_ready_after_one_command(stack: Stack) -> None:
    # Given a stack that bin/up has set up and started; if a program asks for its status
    done = stack.run("hitl", "status", "--json")
    status = json.loads(done.stdout)
    # I expect exit code 0 and the keys of the contract
    assert done.returncode == 0
    assert status.keys() == {
        "amqp_url", "database_url", "ui_url", "metrics", "services", "queues", "items", "for_leads",
        "nobody_left", "refused", "problems",
    }  # fmt: skip
    # every service there, ready, and never restarted
    assert {service["name"] for service in status["services"]} == SERVICES
    for service in status["services"]:
        assert service.keys() == {"name", "pid", "ready", "restarts"}
        assert service["ready"] and service["restarts"] == 0
    assert status["metrics"].keys() == SERVICES
    # the queues of the contract with both of their counts
    for queue in ("hitl.sentiment.inference", "hitl.router", "hitl.sentiment.accepted", "hitl.log"):
        assert status["queues"][queue].keys() == {"ready", "unacked"}
    # and a password for the review page that no other user can read
    assert (stack.home / "reviewer-password").stat().st_mode & 0o077 == 0


def test_an_item_goes_through_and_is_still_there_after_a_quick_second_start(stack: Stack) -> None:
    # Given an item that a producer has published
    before = sum(stack.status()["items"].values())
    connection = pika.BlockingConnection(pika.URLParameters(stack.status()["amqp_url"]))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("hitl.items", "sentiment", b'{"text": "a warm, funny, lovely film"}')
    finally:
        connection.close()

    def decided() -> int:
        items = stack.status()["items"]
        return int(items.get("AI_ACCEPTED", 0) + items.get("HUMAN_REVIEW", 0))

    # I expect the machine's decision, or a person's task
    assert eventually(lambda: decided() == before + 1), stack.status()
    # If I stop the stack and start it again
    stack.down()
    allowed = SECOND_START_SECONDS * others_load()
    started = time.monotonic()
    stack.up()
    # I expect it to be ready in 20 seconds (of a machine with nothing else to do), with its data
    assert time.monotonic() - started < allowed
    assert decided() == before + 1


def test_a_killed_service_is_started_again_and_counted(stack: Stack) -> None:
    # Given a router
    before = stack.service("router")
    # If it is killed
    os.kill(before["pid"], signal.SIGKILL)
    # I expect another one, ready, and its restart in the status
    counted = before["restarts"] + 1
    assert eventually(lambda: stack.service("router")["restarts"] == counted)
    assert eventually(lambda: stack.service("router")["ready"] is True)
    assert stack.service("router")["pid"] != before["pid"]


def test_a_disk_that_is_full_stops_nothing(stack: Stack) -> None:
    # Given that nothing can be written beside the logs (a folder in the place of the file fails as
    # a full disk does, which needs no root to make) / If a service dies
    run = stack.home / "run"
    blocked = [run / "stack.json", run / "router.json"]
    router = stack.service("router")
    port = int(stack.status()["metrics"]["router"].rpartition(":")[2].partition("/")[0])
    for file in blocked:
        file.rename(file.with_suffix(".away"))
        file.mkdir()
    try:
        os.kill(router["pid"], signal.SIGKILL)
        # I expect another one, and all the rest to run on;
        assert eventually(lambda: not listens(port), 20)
        assert eventually(lambda: listens(port), 60)
    finally:
        for file in blocked:
            file.rmdir()
            file.with_suffix(".away").rename(file)
    # and once there is room again, that the status knows.
    assert eventually(lambda: stack.service("router")["pid"] not in (None, router["pid"]))
    assert eventually(lambda: all(one["ready"] for one in stack.status()["services"]))


def test_a_killed_broker_that_lost_its_port_moves_and_everybody_follows(stack: Stack) -> None:
    def process(record: str) -> int:
        return int(json.loads((stack.home / record).read_text())["pid"])

    # Given a stack; if its RabbitMQ is killed, and its port is taken before the next one starts
    before = stack.status()["amqp_url"]
    supervisor = process("run/supervisor.json")
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            os.kill(process("rabbitmq/run/rabbitmq.json"), signal.SIGKILL)
            port = int(before.rpartition(":")[2].partition("/")[0])
            assert eventually(lambda: not listens(port))
            stranger.bind(("127.0.0.1", port))
            stranger.listen()
        finally:
            os.kill(supervisor, signal.SIGCONT)
        # I expect RabbitMQ at another port, and every service connected to it
        assert eventually(lambda: stack.status()["amqp_url"] != before)
        assert eventually(lambda: stack.run("hitl", "status").returncode == 0, 120.0)


def test_what_somebody_deletes_on_the_broker_comes_back(stack: Stack) -> None:
    # Given services that may not declare; if a queue and the stream of policies are deleted
    gone = ("hitl.router", POLICY_STREAM)
    with outsider(stack.status()["amqp_url"]) as owner:
        for name in gone:
            owner.delete(name)
        # I expect the stack to declare them again, and every service to go on
        assert eventually(lambda: all(map(owner.exists, gone)))
    assert eventually(lambda: stack.run("hitl", "status").returncode == 0)


def test_a_second_up_in_the_same_home_says_what_to_do(stack: Stack) -> None:
    # If I start what is running already, I expect one clear message and nothing broken
    done = stack.run("up", "--detach", "--no-demo")
    assert done.returncode == 1
    assert "running already" in done.stderr and "hitl down" in done.stderr
    assert stack.run("hitl", "status").returncode == 0


def of_an_ordinary_user(stack: Stack, folder: Path, temporary: Path) -> Stack:
    """Another home, whose owner (where root's Python lets one in) puts temporary files there."""
    folder.mkdir()
    temporary.mkdir()
    temporary.chmod(0o1777)
    other = Stack(stack.checkout, folder / "home", given={"TMPDIR": str(temporary)})
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    python = str(stack.checkout / ".venv" / "bin" / "python")
    if os.geteuid() == 0 and not subprocess.run([*nobody, "test", "-x", python]).returncode:
        shutil.chown(folder, "nobody")
        other.as_user = nobody
    return other


@pytest.mark.timeout(900)
def test_stacks_that_start_at_once_get_in_nobodys_way(stack: Stack, folder: Path) -> None:
    # Given a stack, which has all usual ports, and three more that start at the same moment, one
    # of them an ordinary user's, who shares the folder for temporary files with others
    temporary = folder / "temporary"
    others = [Stack(stack.checkout, folder / f"at once {number}") for number in range(2)]
    others.append(of_an_ordinary_user(stack, folder / "beside", temporary))
    try:
        with ThreadPoolExecutor(len(others)) as pool:
            list(pool.map(Stack.up, others))
        # I expect each to be ready with the services that it started at first, on ports of its own
        every = [stack, *others]
        ports = [port for one in every for port in one.ports()]
        assert len(set(ports)) == len(ports)
        for one in others:
            services = one.status()["services"]
            assert all(service["ready"] and service["restarts"] == 0 for service in services)
        assert all(service["ready"] for service in stack.status()["services"])
        # If in all of them the same service is killed
        killed = [one.service("router") for one in every]
        before = [one.ports() for one in every]
        for service in killed:
            os.kill(service["pid"], signal.SIGKILL)
        # I expect each to come back where it was.
        for one, service in zip(every, killed, strict=True):
            assert eventually(partial(restarted, one, service), 120)
        assert [one.ports() for one in every] == before
    finally:
        for one in others:
            one.down()
    # If the three end, I expect nothing of them outside their homes, and the first to go on.
    assert list(temporary.iterdir()) == []
    assert stack.run("hitl", "status").returncode == 0


def test_servers_that_the_environment_names_are_used_instead_of_private_ones(
    checkout: Path, folder: Path, amqp_url: str, database_url: str
) -> None:
    # Given servers of one's own, and no word about a management API
    given = {"AMQP_URL": amqp_url, "DATABASE_URL": database_url}
    stack = Stack(checkout, folder / "given", given=given)
    try:
        # If I start the stack
        stack.up()
        status = stack.status()
        # I expect it to be ready on these, to count what AMQP can count, and to start none itself
        assert status["amqp_url"] == amqp_url and status["database_url"] == database_url
        assert all(service["ready"] for service in status["services"])
        assert status["queues"]["hitl.router"] == {"ready": 0, "unacked": None}
        assert not (stack.home / "rabbitmq").exists() and not (stack.home / "postgres").exists()
    finally:
        stack.down()


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_works(stack: Stack) -> None:
    # Given a running stack; if its supervisor is killed
    record = json.loads((stack.home / "run" / "supervisor.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    # I expect all of its processes to go, and the next start to work
    assert eventually(lambda: stack.processes() == []), stack.processes()
    stack.up()
    assert stack.run("hitl", "status").returncode == 0


def test_down_leaves_no_process_and_no_port_behind(stack: Stack) -> None:
    # Given a running stack
    ports = stack.ports()
    assert all(map(listens, ports))
    assert len(stack.processes()) > len(SERVICES)
    # If I stop it, I expect a line for each step, in the order of the flow
    done = stack.run("down")
    steps = ("inference", "router", "feedback", "review_ui", "logger", "PostgreSQL", "RabbitMQ")
    places = [done.stdout.index(f"Stopping {step}") for step in steps]
    assert places == sorted(places)
    # and nothing left of it
    assert stack.processes() == []
    assert not any(map(listens, ports))
    assert stack.run("hitl", "status").returncode == 1
