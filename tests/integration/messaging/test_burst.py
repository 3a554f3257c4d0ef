"""Does RabbitMQ, as compose sets it up, take a burst without holding up who publishes?

`--soak` runs it, for some minutes; with `--servers` on the version that compose names.
"""

import tempfile
from pathlib import Path

import httpx
import pytest

from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.topology import ITEMS, topology
from tests.conftest import RabbitMQ

COMPOSE = Path(__file__).parents[3] / "deploy" / "rabbitmq" / "rabbitmq.conf"
BURST, PORTION, BODY_BYTES = 600_000, 2_000, 1_000


def as_in_compose(name: str) -> str:
    """What compose's RabbitMQ is told."""
    lines = [line.partition(" = ") for line in COMPOSE.read_text().splitlines()]
    return next(value for key, _, value in lines if key == name)


@pytest.mark.timeout(1_800)
def test_a_burst_of_items_raises_no_alarm(
    rabbitmq: RabbitMQ, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--soak"):
        pytest.skip("600 000 messages take minutes: --soak runs it")
    # Given a broker that may use as much memory as compose's, and nobody who consumes
    with tempfile.TemporaryDirectory(prefix="hitl-burst-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        node = PrivateRabbitMQ(home / "rabbitmq", home / "log", fast=True)
        node.start()
        sender = Broker(node.amqp_url, name="test", topology=topology(["sentiment"], (5, 30)))
        try:
            node.wait_ready()
            limit = as_in_compose("vm_memory_high_watermark.absolute")
            with httpx.Client(base_url=node.api_url, timeout=30) as api:
                [one] = api.get("/nodes").raise_for_status().json()
                assert one["mem_limit"] == int(limit.removesuffix("MB")) * 10**6
                sender.start()
                assert sender.wait_ready(30)
                # If a burst comes, each item of which goes to two queues
                item = Outgoing(ITEMS, "sentiment", bytes(BODY_BYTES), message_id="any")
                most = 0
                for _portion in range(BURST // PORTION):
                    sender.publish([item] * PORTION, timeout_seconds=60)
                    # I expect no alarm, which would hold up everybody who publishes
                    [one] = api.get("/nodes").raise_for_status().json()
                    assert not one["mem_alarm"], f"alarm at {one['mem_used'] / 1e6:.0f} MB"
                    most = max(most, one["mem_used"])
            print(f"at most {most / 1e6:.0f} MB of {limit}")
        finally:
            sender.close()
            node.stop()
