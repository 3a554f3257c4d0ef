"""How do three private RabbitMQ nodes become one cluster on one machine?

As an operator makes one: a common cookie, one epmd that knows the names, `join_cluster`.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from hitl.servers.installed import rabbitmq_program
from hitl.servers.rabbitmq import PrivateRabbitMQ
from tests.support.amqp_client import until

SIZE = 3


class Member(PrivateRabbitMQ):
    """A node that meets the others at the first one's epmd."""

    def __init__(self, home: Path, first: "Member | None") -> None:
        super().__init__(home, home.with_suffix(".log"), fast=True)
        self.first = first or self
        if first is not None:
            cookie = self.home / "user" / ".erlang.cookie"
            cookie.parent.mkdir(parents=True)
            cookie.write_bytes((first.home / "user" / ".erlang.cookie").read_bytes())
            cookie.chmod(0o400)
            (self.home / "password").write_text(first.password)

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return (self.home / "node-name").read_text()

    def rabbitmqctl(self, *command: str) -> None:
        """On this node."""
        subprocess.run(
            [str(rabbitmq_program("rabbitmqctl")), *command],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.home / "user"),
                "LANG": "C.UTF-8",
                "ERL_EPMD_PORT": str(self.first.ports["epmd"]),
                "RABBITMQ_NODENAME": self.name,
                "RABBITMQ_CONF_ENV_FILE": str(self.home / "config" / "environment"),
            },
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the node; its epmd stays, as on a machine of its own."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not self.processes[-1].alive())

    def start_again(self) -> None:
        """On the data that it had."""
        self.processes[-1].start()
        until(self.ready, seconds=90, what="the killed node being back")

    def _write_files(self) -> dict[str, str]:
        environment = super()._write_files()
        return {**environment, "ERL_EPMD_PORT": str(self.first.ports["epmd"])}


@contextmanager
def clustered(folder: Path) -> Iterator[list[Member]]:
    """Three nodes, joined."""
    members: list[Member] = []
    try:
        for number in range(SIZE):
            member = Member(folder / f"node-{number}", members[0] if members else None)
            members.append(member)
            member.start()
            member.wait_ready()
            if number:
                member.rabbitmqctl("stop_app")
                member.rabbitmqctl("join_cluster", members[0].name)
                member.rabbitmqctl("start_app")
        until(lambda: _running(members[0]) == SIZE, seconds=60, what="three nodes in the cluster")
        yield members
    finally:
        for member in reversed(members):
            member.stop()


def leader_of(queue: str, members: list[Member]) -> Member:
    """Where the queue's leader is."""
    for member in members:
        try:
            found = httpx.get(f"{member.api_url}/queues/hitl/{queue}", timeout=5).json()
        except httpx.HTTPError:
            continue
        for one in members:
            if one.name == found.get("leader"):
                return one
    raise AssertionError(f"no node knows the leader of {queue}")


def _running(member: Member) -> int:
    nodes = httpx.get(f"{member.api_url}/nodes", timeout=5).json()
    return sum(1 for node in nodes if node.get("running"))
