"""Does a cluster of three go on, and keep everything, when the node that leads is killed?"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from hitl.servers.ports import free_ports
from shared.messages import Outgoing
from shared.messaging.connection import Broker, declare_all
from shared.service.settings import Settings
from shared.topology import topology
from tests.chaos.cluster import clustered, leader_of
from tests.chaos.harness import HEARTBEAT_SECONDS, WORKFLOW
from tests.chaos.proxy import Proxy
from tests.support.amqp_client import outsider, until

ROOT = Path(__file__).parents[2]
ROUNDS = 3
WATCHED = "hitl.sentiment.inference"


class Producer(threading.Thread):
    """Publishes small windows; knows when each was confirmed."""

    def __init__(self, amqp_url: str) -> None:
        super().__init__(daemon=True)
        self._broker = Broker(amqp_url, name="test")
        self._stopping = threading.Event()
        self.confirmed: list[str] = []
        self.longest_pause = 0.0

    def run(self) -> None:
        self._broker.start()
        while not self._stopping.is_set():
            first = len(self.confirmed)
            ids = [f"item-{number}" for number in range(first, first + 10)]
            started = time.monotonic()
            self._broker.publish(
                [
                    Outgoing(
                        "hitl.items", "sentiment",
                        json.dumps({"id": item, "text": f"about {item}"}).encode(), item,
                    )
                    for item in ids
                ],
                timeout_seconds=120,
            )  # fmt: skip
            self.longest_pause = max(self.longest_pause, time.monotonic() - started)
            self.confirmed += ids
            time.sleep(0.02)
        self._broker.close()

    def stop(self) -> None:
        """Returns when the last window is confirmed."""
        self._stopping.set()
        self.join(130)
        assert not self.is_alive()


@pytest.mark.timeout(0)
def test_a_cluster_whose_leader_is_killed_loses_nothing_and_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("three nodes: --soak")
    (tmp_path / "sentiment.toml").write_text(WORKFLOW)
    pauses: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="hitl-cluster-", ignore_cleanup_errors=True) as folder,
        clustered(Path(folder)) as members,
    ):
        # A load balancer in front, as any cluster has one: it leads to a node that lives
        balancer = Proxy(members[0].ports["amqp"])
        before = members[0].amqp_url.rpartition("@")[0]
        amqp_url = f"{before}@127.0.0.1:{balancer.port}/hitl?heartbeat={HEARTBEAT_SECONDS}"
        declare_all(amqp_url, topology(["sentiment"], Settings().retry_delays_seconds))
        ports = free_ports(2)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
            "AMQP_URL": amqp_url,
            "HITL_WORKFLOWS_DIR": str(tmp_path),
            "HITL_INFERENCE_PORT": str(ports[0]),
            "HITL_ROUTER_PORT": str(ports[1]),
        }
        with (tmp_path / "log").open("wb") as log:
            services = [
                subprocess.Popen(
                    [sys.executable, "-m", module],
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
                for module in ("tests.chaos.scorer", "services.router")
            ]
        producer = Producer(amqp_url)
        try:
            producer.start()
            until(lambda: len(producer.confirmed) > 200, seconds=60)
            # If I kill the leader of the queue that everything goes through, again and again
            for _ in range(ROUNDS):
                victim = leader_of(WATCHED, members)
                producer.longest_pause = 0.0
                count = len(producer.confirmed)
                victim.kill()
                balancer.target = next(one for one in members if one is not victim).ports["amqp"]
                balancer.cut()
                until(lambda: len(producer.confirmed) > count + 200, seconds=90)  # noqa: B023
                pauses.append(producer.longest_pause)
                victim.start_again()
            producer.stop()
            # I expect every confirmed item routed, though by now no node is the one it was
            wanted = set(producer.confirmed)
            routed: dict[str, set[str]] = {}
            with outsider(amqp_url) as program:

                def all_routed() -> bool:
                    for queue in ("hitl.sentiment.accepted", "hitl.sentiment.review"):
                        for message in program.drain(queue):
                            item = json.loads(message.body)["item"]["id"]
                            routed.setdefault(item, set()).add(str(message.message_id))
                    return wanted <= routed.keys()

                until(all_routed, seconds=120, what="every confirmed item routed")
            doubled = [item for item, ids in routed.items() if len(ids) > 1]
            print(
                f"\n{ROUNDS} leaders killed, {len(wanted)} items confirmed: lost = 0, "
                f"duplicated = {len(doubled)}; no confirm for "
                + ", ".join(f"{pause:.1f} s" for pause in pauses)
            )
            assert doubled == []
        finally:
            for service in services:
                service.kill()
                service.wait()
            balancer.close()
