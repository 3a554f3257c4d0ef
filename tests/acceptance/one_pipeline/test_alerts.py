"""Is a person told when a service dies, and when it is back? Real Prometheus, real Alertmanager."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from hitl.servers.ports import free_ports
from tests.conftest import RabbitMQ
from tests.contract.test_prometheus_config import ALERTMANAGER, ALERTS
from tests.support.amqp_client import until
from tests.support.pipeline import Pipeline
from tests.support.prometheus import program, scraped, value_of
from tests.support.webhook_receiver import Receiver, receiving

pytestmark = pytest.mark.timeout(300)

# The rules and the routing are those of deploy/, but for their patience: what takes minutes there
# takes seconds here; more than a scrape or two that a busy machine does not get done in time.
PATIENCE = "4s"


def hasty_rules(folder: Path) -> Path:
    """A copy of the rules in which every alert waits some seconds."""
    copy = folder / "alerts.yml"
    copy.write_text(re.sub(r"^( +for:) \w+$", rf"\1 {PATIENCE}", ALERTS.read_text(), flags=re.M))
    return copy


@contextmanager
def alertmanager(folder: Path, receiver: Receiver) -> Iterator[int]:
    """The port of an Alertmanager that tells `receiver`."""
    config = yaml.safe_load(ALERTMANAGER.read_text())
    config["route"] |= {"group_wait": "1s", "group_interval": "1s"}
    config["receivers"][0]["webhook_configs"] = [{"url": receiver.url}]
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    with program(
        [
            "prometheus-alertmanager", f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        folder / "alertmanager.log",
    ):  # fmt: skip
        yield port


def told(receiver: Receiver, status: str) -> list[dict[str, str]]:
    """The annotations of the router's absence, in every message that said this of it."""
    return [
        alert["annotations"]
        for hook in list(receiver.received)
        for alert in hook.content["alerts"]
        if alert["status"] == status
        and alert["labels"] == {**alert["labels"], "alertname": "ServiceMissing", "job": "router"}
    ]


def test_a_killed_service_is_reported_and_so_is_its_return(
    pipeline: Pipeline, rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    # Given a running stack, watched, with somebody to be told
    with (
        receiving() as receiver,
        alertmanager(tmp_path, receiver) as port,
        scraped(
            pipeline, rabbitmq, tmp_path,
            rule_files=[str(hasty_rules(tmp_path))],
            alerting={
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
            },
        ) as prometheus,
    ):  # fmt: skip
        missing = 'ALERTS{alertname="ServiceMissing"}'
        until(lambda: not value_of(prometheus, missing), what="quiet")
        assert told(receiver, "firing") == []
        # If the router is killed
        pipeline.processes["router"].kill()
        pipeline.processes["router"].wait()
        # I expect a message that names it and points to the runbook
        until(lambda: bool(told(receiver, "firing")), seconds=60, what="the alert")
        (annotations, *_) = told(receiver, "firing")
        assert annotations["summary"] == "No router answers"
        assert annotations["runbook_url"] == "docs/operate/runbook.md#servicemissing"
        # If it comes back / I expect to hear of that, too
        assert told(receiver, "resolved") == []
        pipeline.start("router")
        pipeline.wait_ready("router")
        until(lambda: bool(told(receiver, "resolved")), seconds=60, what="the all-clear")
