"""Does a worker score by models of label sets, of spans and of entailment, as the files say?"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from hitl.servers.ports import free_ports
from shared.events.answered import AnswerScored
from shared.messaging.connection import declare_all
from shared.topology import topology
from tests.support.amqp_client import outsider, until
from tests.support.checkpoints import write

ROOT = Path(__file__).parents[3]
NAMES = ("moderation", "names", "topics", "refused")
TEXT = "\U0001f600 Peter of ACME owes Ann 12 euros."


@contextmanager
def inference(amqp_url: str, folder: Path) -> Iterator[str]:
    """The process with the workflows in the folder; its address while it is ready."""
    [port] = free_ports(1)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("HITL_")},
        "AMQP_URL": amqp_url,
        "HITL_HOME": str(folder),
        "HITL_WORKFLOWS_DIR": str(folder),
        "HITL_INFERENCE_PORT": str(port),
    }
    with (folder / "inference.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.inference"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/readyz"
    try:
        until(partial(ready, url), seconds=90, what="inference being ready")
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def workflow(folder: Path, name: str, lines: str) -> None:
    (folder / f"{name}.toml").write_text(
        f'[workflow]\nname = "{name}"\n{lines}\n[policy]\nthreshold = 0.9\n'
    )


@pytest.mark.timeout(180)
def test_a_worker_answers_as_each_workflow_asks(amqp_url: str, tmp_path: Path) -> None:
    # Given four workflows, of which one has a model of others' labels
    many = write(tmp_path / "many", ("rude", "kind"), problem_type="multi_label_classification")
    tags = write(tmp_path / "tags", ("O", "B-PER", "I-PER"), of_tokens=True)
    nli = write(tmp_path / "nli", ("contradiction", "neutral", "entailment"))
    workflow(
        tmp_path, "moderation", f'answer = "labels"\nlabels = ["kind", "rude"]\nmodel = "{many}"'
    )
    workflow(tmp_path, "names", f'answer = "spans"\nlabels = ["PER"]\nmodel = "{tags}"')
    workflow(
        tmp_path,
        "topics",
        f'labels = ["film", "money"]\nmodel = "{nli}"\nhypothesis = "This text is about {{}}."',
    )
    workflow(tmp_path, "refused", f'answer = "spans"\nlabels = ["ORG"]\nmodel = "{tags}"')
    declare_all(amqp_url, topology(NAMES, (1, 10, 60, 600)))
    events: dict[str, dict[str, Any]] = {}
    with inference(amqp_url, tmp_path) as url, outsider(amqp_url) as program:
        # I expect that one to be refused by name,
        refused = httpx.get(url, timeout=5).json()["refused"]
        assert "the model tags PER, the workflow has the labels ORG" in refused["refused"]
        for name in NAMES[:3]:
            program.publish(json.dumps({"id": name, "text": TEXT}), routing_key=name)
        for message in program.take("hitl.router", 3):
            event = json.loads(message.body)
            version = message.headers["cloudEvents_schemaversion"]
            events[event["workflow"]] = event | {"version": version}
    # and of the others an answer of each kind, with the confidences of its parts.
    labels = AnswerScored.model_validate(events["moderation"] | {"version": 2}).prediction
    assert labels is not None
    assert isinstance(labels.parts, dict)
    assert list(labels.parts) == ["kind", "rude"]
    assert labels.answer == {"labels": [name for name, p in labels.parts.items() if p >= 0.5]}
    assert labels.confidence == min(max(p, 1 - p) for p in labels.parts.values())
    assert labels.model_version.startswith("many@")
    spans = events["names"]["prediction"]
    assert spans["kind"] == "spans"
    assert len(spans["parts"]) == len(spans["answer"]["spans"]) > 0
    assert all(TEXT[s["start"] : s["end"]].strip() for s in spans["answer"]["spans"])
    topics = events["topics"]
    assert topics["version"] == "1"
    assert set(topics["prediction"]["distribution"]) == {"film", "money"}
    assert topics["prediction"]["model_version"].startswith("nli@")
