"""Do the private servers keep their data, keep to themselves, and leave nothing behind?"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pika
import psycopg2
import pytest

from hitl.servers.ports import is_free
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.processes import Child, Record
from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.topology import Queue, Topology
from tests.conftest import Postgres, RabbitMQ, started

QUORUM = {"x-queue-type": "quorum"}
LONG = Queue("hitl.long", QUORUM)


@pytest.fixture
def home(rabbitmq: RabbitMQ, postgres: Postgres) -> Iterator[Path]:
    """A home in a path with a space; asks for the session's servers only to know they can run."""
    with tempfile.TemporaryDirectory(prefix="hitl tests ", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


def eventually(condition: Callable[[], bool], seconds: float = 15.0) -> bool:
    """Does it become true in time?"""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return condition()


def publish_one(url: str) -> None:
    """Put one confirmed message on a quorum queue."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("hitl.kept", durable=True, arguments=QUORUM)
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", "hitl.kept", b"{}", persistent)
    finally:
        connection.close()


def kept(url: str) -> int:
    """How many messages lie on that queue?"""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        queue = connection.channel().queue_declare("hitl.kept", passive=True)
        return int(queue.method.message_count)
    finally:
        connection.close()


@pytest.mark.timeout(600)
def test_a_long_queue_does_not_stop_the_broker(home: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("half a million messages take a minute or two: --soak runs it")
    node = PrivateRabbitMQ(home / "rabbitmq", home / "log", fast=True)
    node.start()
    sender = Broker(node.amqp_url, name="test", topology=Topology((), (LONG,), (), ()))
    try:
        node.wait_ready()
        sender.start()
        assert sender.wait_ready(20)
        # Given messages that nobody takes, until RabbitMQ's write-ahead log has been full once
        message = Outgoing("", LONG.name, bytes(1_000), message_id="any")
        for _portion in range(100):
            sender.publish([message] * 5_000, timeout_seconds=60)
            # I expect it to take the next at once: memory that the log takes is no reason to stop
            with httpx.Client(base_url=node.api_url, timeout=30) as api:
                assert not any(one.get("mem_alarm") for one in api.get("/nodes").json())
    finally:
        sender.close()
        node.stop()


def test_rabbitmq_keeps_its_messages_over_a_kill_and_a_change_of_every_port(home: Path) -> None:
    # Given a node with one confirmed message, in a folder with a space in its name
    node = PrivateRabbitMQ(home / "rabbitmq", home / "log", fast=True)
    with started(node, installed=True):
        publish_one(node.amqp_url)
        # which no other user of the machine may read: the node itself keeps it in open files
        assert node.home.stat().st_mode & 0o077 == 0
        assert node.log.stat().st_mode & 0o077 == 0
        before = dict(node.ports)
        # RabbitMQ writes its directory of quorum queues to disk up to half a second after it has
        # declared one; killed before that, it has forgotten the queue.
        time.sleep(1.5)
    # If its ports are taken when it starts again
    taken = [socket.create_server(("127.0.0.1", port)) for port in before.values()]
    again = PrivateRabbitMQ(home / "rabbitmq", home / "log", fast=True)
    try:
        with started(again, installed=True):
            # I expect other ports, and the message where it was
            assert not set(before.values()) & set(again.ports.values())
            assert eventually(lambda: kept(again.amqp_url) == 1)
    finally:
        for port in taken:
            port.close()


def test_a_private_rabbitmq_listens_on_the_loopback_only(rabbitmq: RabbitMQ) -> None:
    # Given the session's node; if I ask the kernel who listens on its ports
    listening = subprocess.run(
        ["ss", "-Hltn"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    addresses = [line.split()[3] for line in listening]
    for name, port in rabbitmq.server.ports.items():
        found = {a.rpartition(":")[0] for a in addresses if a.endswith(f":{port}")}
        # I expect loopback addresses and no other (epmd insists on IPv6's loopback too)
        assert found, name
        assert found <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}, (name, found)


def test_the_tunables_policy_limits_deliveries_of_queues_but_not_of_the_policy_stream(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    # Given a quorum queue and the stream of policies
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        channel.queue_declare("hitl.router", durable=True, arguments=QUORUM)
        channel.queue_declare("hitl.router.dlq", durable=True, arguments=QUORUM)
        channel.queue_declare("hitl.policy", durable=True, arguments={"x-queue-type": "stream"})
        vhost = amqp_url.rpartition("/")[2]

        # If I ask the management API which policy applies
        def policy_of(queue: str) -> object:
            return rabbitmq.api.get(f"/queues/{vhost}/{queue}").json().get("policy")

        # I expect it on the queue, and none on the stream and on the dead letters: who looks at one
        # ten times over must not use it up
        assert eventually(lambda: policy_of("hitl.router") == "hitl-tunables")
        assert policy_of("hitl.policy") is None
        assert policy_of("hitl.router.dlq") is None
    finally:
        connection.close()


def test_the_management_api_counts_unacked_messages_within_seconds(
    rabbitmq: RabbitMQ, amqp_url: str
) -> None:
    # Given two messages, one of them delivered and not acked
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        channel.queue_declare("hitl.counted", durable=True, arguments=QUORUM)
        for _ in range(2):
            channel.basic_publish("", "hitl.counted", b"{}")
        assert eventually(lambda: channel.basic_get("hitl.counted")[0] is not None)
        vhost = amqp_url.rpartition("/")[2]

        # If I look, I expect one ready and one unacked
        def counts() -> tuple[object, object]:
            queue = rabbitmq.api.get(f"/queues/{vhost}/hitl.counted").json()
            return queue.get("messages_ready"), queue.get("messages_unacknowledged")

        assert eventually(lambda: counts() == (1, 1)), counts()
    finally:
        connection.close()


def test_rabbitmq_refuses_a_stranger(rabbitmq: RabbitMQ) -> None:
    # If somebody tries the password that every RabbitMQ is born with, I expect no entry
    url = f"http://127.0.0.1:{rabbitmq.server.ports['api']}/api/overview"
    assert httpx.get(url, auth=("guest", "guest")).status_code == httpx.codes.UNAUTHORIZED


def test_postgres_keeps_its_rows_over_a_crash_and_a_change_of_port(home: Path) -> None:
    # Given a cluster (with fsync, as people run it) with one committed row
    server = PrivatePostgres(home / "postgres", home / "log")
    server.start()
    try:
        server.wait_ready()
        with psycopg2.connect(server.database_url) as connection:
            connection.cursor().execute("CREATE TABLE kept AS SELECT 'é' AS word")
        connection.close()
        port = server.port
    finally:
        # If the server is killed, which leaves its lock file behind, and its port is taken
        server.processes[-1].kill()
    with socket.create_server(("127.0.0.1", port)):
        again = PrivatePostgres(home / "postgres", home / "log")
        with started(again, installed=True):
            # I expect another port, and the row where it was
            assert again.port != port
            with psycopg2.connect(again.database_url) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT word FROM kept")
                assert cursor.fetchall() == [("é",)]
            connection.close()


def test_postgres_waits_for_the_processes_that_a_killed_server_left(home: Path) -> None:
    # Given a cluster that was killed, and one of its processes has not noticed that yet (stopped
    # here; usually it lacks a turn on a busy machine)
    server = PrivatePostgres(home / "postgres", home / "log", fast=True)
    server.start()
    try:
        server.wait_ready()
        assert server.pid is not None
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        late = Record.of(int(children[0]))
        assert late is not None
        os.kill(late.pid, signal.SIGSTOP)
    finally:
        server.processes[-1].kill()
    wakes = threading.Timer(1.0, os.kill, (late.pid, signal.SIGCONT))
    wakes.start()
    again = PrivatePostgres(home / "postgres", home / "log", fast=True)
    try:
        # If it is started meanwhile
        with started(again, installed=True):
            # I expect it to run, once that process is gone
            assert not late.alive()
    finally:
        wakes.join()


def test_a_throwaway_postgres_leaves_no_shared_memory_in_the_kernel(home: Path) -> None:
    # Given a throwaway cluster, whose lock file names its segment; the kernel has room for 4096
    server = PrivatePostgres(home / "postgres", home / "log", fast=True)
    with started(server, installed=True):
        lock = Path((home / "postgres" / "location").read_text()) / "postmaster.pid"
        segment = lock.read_text().splitlines()[6].split()[1]
        assert segment in shared_memory()
    # If it is stopped, I expect no trace of it
    assert segment not in shared_memory()


def shared_memory() -> set[str]:
    """The ids of the System V segments that the kernel holds."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    url = postgres.server.database_url.replace(postgres.server.password, "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(url)


STARTER = """
import sys, time
from pathlib import Path
from hitl.servers.postgres import PrivatePostgres
from hitl.servers.rabbitmq import PrivateRabbitMQ
home = Path(sys.argv[1])
log = home / "log"
servers = PrivateRabbitMQ(home / "rabbitmq", log), PrivatePostgres(home / "postgres", log)
for server in servers:
    server.start()
for server in servers:
    server.wait_ready()
print(servers[0].pid, servers[1].pid, *servers[0].ports.values(), servers[1].port, flush=True)
time.sleep(600)
"""


def test_servers_die_with_a_starter_that_is_killed(home: Path) -> None:
    # Given a program that has started both servers
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    ) as starter:
        assert starter.stdout is not None
        try:
            node, server, *ports = map(int, starter.stdout.readline().split())
            records = [Record.of(node), Record.of(server)]
        finally:
            # If it is killed without a chance to stop them
            starter.kill()
    # I expect no process and no listening port a little later
    assert eventually(lambda: not any(record and record.alive() for record in records))
    assert eventually(lambda: all(map(is_free, ports)))


def test_a_new_start_stops_the_orphan_of_an_old_one_but_no_stranger(tmp_path: Path) -> None:
    # Given a process that an earlier run started and recorded
    def sleeper() -> Child:
        return Child(
            "sleeper", ["sleep", "600"], dict(os.environ), tmp_path / "log", tmp_path / "record"
        )

    old = sleeper()
    old.start()
    record = Record.read(tmp_path / "record")
    assert old.pid is not None and record is not None and record.alive()
    # If a second run starts the same thing, I expect the first to be gone
    new = sleeper()
    new.start()
    assert not record.alive()
    assert new.alive()
    # And if the record names a pid that now belongs to somebody else
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        Record(stranger.pid, record.started - 1, record.boot).write(tmp_path / "record")
        third = sleeper()
        third.start()
        # I expect the stranger to be left alone
        assert stranger.poll() is None
        third.stop(5)
    finally:
        stranger.kill()
        stranger.wait()
        new.kill()
        old.kill()


def test_a_child_that_ignores_the_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    # Given a child that ignores SIGTERM, with a child of its own
    deaf = Child(
        "deaf",
        ["bash", "-c", "trap '' TERM; sleep 600 & echo $!; wait; wait; wait"],
        dict(os.environ),
        tmp_path / "log",
        tmp_path / "record",
    )
    deaf.start()
    assert eventually(lambda: bool(deaf.log.read_text().strip()))
    grandchild = Record.of(int(deaf.log.read_text()))
    # If I stop it with half a second of grace, I expect it to say that it did not go by itself
    assert deaf.stop(0.5) is False
    # and nothing of its group to be left
    assert grandchild is not None
    assert eventually(lambda: not grandchild.alive())
    assert deaf.stop_signal is signal.SIGTERM
