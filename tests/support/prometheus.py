"""A real Prometheus with its exporters beside a running pipeline, and some traffic to be seen."""

import json
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pika
import yaml

from hitl.access.database_roles import set_rights
from hitl.servers.ports import free_ports
from tests.conftest import RabbitMQ, cannot_run
from tests.support.amqp_client import until
from tests.support.pipeline import PASSWORD, Pipeline

SCRAPE_SECONDS = 1
EXPORTERS_PASSWORD = "without-a-space"  # Debian's exporter takes no other


@contextmanager
def program(command: list[str], log: Path, **settings: str) -> Iterator[None]:
    """A program that runs as long as it is needed."""
    if shutil.which(command[0]) is None:
        cannot_run(f"{command[0]} is not installed")
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, env={**os.environ, **settings}
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def scraped(
    pipeline: Pipeline, rabbitmq: RabbitMQ, folder: Path, **more: object
) -> Iterator[httpx.Client]:
    """A Prometheus that reads everything that dashboards and alerts ask for; `more` goes into its
    configuration."""
    exporter, port = free_ports(2)
    jobs = {name: number for name, number in pipeline.ports.items()}
    jobs |= {"rabbitmq": rabbitmq.server.ports["metrics"], "postgres": exporter}
    config = {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{number}"]}]}
            for name, number in jobs.items()
        ],
        **more,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    set_rights(pipeline.database_url, {"hitl_exporter": EXPORTERS_PASSWORD})
    database = pipeline.database_url.rpartition("@")[2]
    with (
        program(
            ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{exporter}"],
            folder / "exporter.log",
            DATA_SOURCE_URI=f"{database}?sslmode=disable",
            DATA_SOURCE_USER="hitl_exporter",
            DATA_SOURCE_PASS=EXPORTERS_PASSWORD,
        ),
        program(
            [
                "prometheus", f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            folder / "prometheus.log",
        ),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client,
    ):  # fmt: skip

        def answers() -> bool:
            try:
                return client.get("/-/ready").is_success
            except httpx.TransportError:
                return False

        until(answers, seconds=60, what="Prometheus ready")
        up = f"count(up == 1) == {len(jobs)}"
        until(lambda: bool(value_of(client, up)), seconds=60, what="everything scraped")
        yield client


def value_of(prometheus: httpx.Client, query: str) -> list[Any]:
    """What the query finds now: its lines that have a number."""
    answer = prometheus.get("/api/v1/query", params={"query": query})
    assert answer.status_code == 200, f"{query}: {answer.text}"
    found: list[Any] = answer.json()["data"]["result"]
    return [line for line in found if math.isfinite(float(line["value"][1]))]


def publish_some(pipeline: Pipeline, count: int) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(pipeline.amqp_url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        for number in range(count):
            words = ("a lovely film", "it is", "not my kind of thing", "awful")[number % 4]
            channel.basic_publish("hitl.items", "sentiment", json.dumps({"text": words}).encode())
        channel.basic_publish("hitl.items", "sentiment", b"no json")
    finally:
        connection.close()


def review_some(pipeline: Pipeline, count: int) -> None:
    """Half of the answers keep the AI's label."""
    with httpx.Client(base_url=f"{pipeline.url('review_ui')}/api/v1", timeout=30) as client:
        login = client.post("/login", json={"name": "ada", "password": PASSWORD})
        client.headers["cookie"] = login.headers["set-cookie"].split(";")[0]
        claimed = client.post("/tasks/claim", json={"count": count}).json()["tasks"]
        assert claimed
        for number, task in enumerate(claimed):
            body = {
                "key": str(uuid4()),
                "lease_token": task["lease_token"],
                "action": "correct",
                "label": task["labels"][number % 2],
                "seconds": 2.0,
            }
            client.post(f"/tasks/{task['id']}/decision", json=body).raise_for_status()
