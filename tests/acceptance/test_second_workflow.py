"""Can a workflow with other labels be added to a running pipeline, and does nobody else notice?"""

import json
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file

from services.inference import embedded
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.pipeline import PASSWORD, ROOT, Pipeline, running

LABELS = ["negative", "neutral", "positive"]
TWEETS = 45
BROKEN = '[workflow]\nname = "broken"\nlabels = 7\n'
# The workflow part is right, the policy is not: only who routes by it can tell.
UNSURE = '[workflow]\nname = "unsure"\nlabels = ["negative", "positive"]\n[policy]\nthreshold = 7\n'


def says(pipeline: Pipeline, name: str, words: str) -> bool:
    return words in pipeline.log(name)


def shows(pipeline: Pipeline, name: str, sample: str) -> bool:
    return sample in pipeline.page(name, "/metrics")[1].splitlines()


def three_labels(folder: Path) -> Path:
    """A model of three labels in no time: the shipped adapter, and between its two labels a third
    that is as likely as they are on average."""
    shutil.copytree(embedded.SHIPPED_ADAPTER, folder)
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    for name in [name for name in weights if name.startswith("base_model.model.classifier.")]:
        negative, positive = weights[name]
        weights[name] = torch.stack([negative, (negative + positive) / 2, positive])
    path.unlink()
    save_file(weights, path)
    told = json.loads((folder / "calibration.json").read_text())
    (folder / "calibration.json").write_text(json.dumps({**told, "labels": LABELS}))
    return folder


def hitl(pipeline: Pipeline, *words: str) -> str:
    """What a command says."""
    done = subprocess.run(
        [sys.executable, "-m", "hitl", *words],
        cwd=ROOT, env=pipeline.environment, capture_output=True, text=True,
        timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


class Stream:
    """Items for the first workflow without a pause, from a connection of its own."""

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with outsider(self._amqp_url) as program:
            while not self._stopping.wait(0.01):
                send(program, "sentiment", f"s{self.sent}", f"Day {self.sent}: it was all right.")
                self.sent += 1


def send(program: Outsider, workflow: str, item_id: str, text: str) -> None:
    program.publish(json.dumps({"id": item_id, "text": text}), routing_key=workflow)


@contextmanager
def browser_of(pipeline: Pipeline, name: str) -> Iterator[httpx.Client]:
    url = pipeline.url("review_ui")
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=20) as browser:
        who = {"name": name, "password": PASSWORD}
        browser.post("/api/v1/login", json=who).raise_for_status()
        yield browser


def claim(browser: httpx.Client, **wanted: object) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = (
        browser.post("/api/v1/tasks/claim", json={"count": 50, **wanted})
        .raise_for_status()
        .json()["tasks"]
    )
    return tasks


def decide(browser: httpx.Client, task: dict[str, Any], label: str) -> httpx.Response:
    said = {"key": str(uuid.uuid4()), "lease_token": task["lease_token"]}
    path = f"/api/v1/tasks/{task['id']}/decision"
    return browser.post(path, json={**said, "action": "correct", "label": label})


@pytest.mark.timeout(400)  # thirty seconds of work, and seven programs on a busy machine
def test_a_second_workflow_is_added_under_load(
    amqp_url: str, database_url: str, tmp_path: Path
) -> None:
    # Given a pipeline whose one workflow is at work,
    flows = tmp_path / "workflows"
    flows.mkdir()
    shutil.copy(ROOT / "deploy/workflows/sentiment.toml", flows)
    model = three_labels(tmp_path / "threefold")
    with (
        running(
            amqp_url,
            database_url,
            tmp_path,
            HITL_WORKFLOWS_DIR=str(flows),
            HITL_RETRY_DELAYS_SECONDS="1,1,2",
        ) as pipeline,
        outsider(amqp_url) as program,
    ):
        pids = {name: process.pid for name, process in pipeline.processes.items()}
        with Stream(amqp_url) as stream:
            until(lambda: pipeline.count("SELECT count(*) FROM item") > 50, seconds=60)
            # and two files that are wrong, each in its own way.
            (flows / "broken.toml").write_text(BROKEN)
            (flows / "unsure.toml").write_text(UNSURE)
            # If I add a workflow with other labels by the command, and send it items at once,
            said = hitl(pipeline, "workflow", "new", "tweets", "--model", str(model))
            started = time.monotonic()
            assert "hitl.tweets.inference" in said
            for number in range(TWEETS):
                text = ("This is awful.", "A box.", "I love it!")[number % 3]
                send(program, "tweets", f"t{number}", text)
            scored = "SELECT count(*) FROM item WHERE workflow = 'tweets' AND ai_label IS NOT NULL"
            until(lambda: pipeline.count(scored) > 0, seconds=60, what="a tweet scored")
            print(f"the first tweet was scored {time.monotonic() - started:.1f} s after the file")
            routed = (
                "SELECT count(*) FROM item WHERE workflow = 'tweets'"
                " AND status IN ('AI_ACCEPTED', 'HUMAN_REVIEW')"
            )
            until(lambda: pipeline.count(routed) == TWEETS, seconds=60, what="every tweet routed")
            # and items of the one whose policy is refused,
            until(lambda: "unsure" in pipeline.log("inference"), seconds=30)
            send(program, "unsure", "u1", "Is it?")
        sent = stream.sent

        # I expect each of the first workflow's items routed, each workflow scored by its own model,
        # by its own labels,
        others = "SELECT count(*) FROM item WHERE workflow = 'sentiment' AND status <> 'SCORED'"
        until(lambda: pipeline.count(others) == sent, seconds=60, what=f"all {sent} routed")
        query = (
            "SELECT DISTINCT model_version, (SELECT array_agg(k ORDER BY k) FROM"
            " jsonb_object_keys(distribution) k) FROM item WHERE workflow = %s"
        )
        [(first, two)] = pipeline.rows(query, "sentiment")
        [(second, three)] = pipeline.rows(query, "tweets")
        assert first.startswith("embedded@")
        assert second.startswith("threefold@")
        assert (two, three) == (["negative", "positive"], LABELS)
        # nothing lost or set aside,
        assert program.drain("hitl.unroutable") == []
        assert pipeline.count("SELECT count(*) FROM item WHERE status = 'FAILED'") == 0
        # nobody restarted, nobody unready,
        assert {name: process.pid for name, process in pipeline.processes.items()} == pids
        assert all(pipeline.ready(name) for name in pids)
        # the broken file named by everybody, and shown;
        for name in pids:
            until(partial(says, pipeline, name, "broken.toml"))
            # (a tweet is scored before the workflow's highlights are set up, and it is all served)
            until(partial(shows, pipeline, name, 'hitl_policy_refused{workflow="broken"} 1.0'))
            until(partial(shows, pipeline, name, 'hitl_policy_refused{workflow="tweets"} 0.0'))
        # the unsure one's item waits, and is routed once its file is mended.
        until(lambda: pipeline.rows("SELECT status FROM item WHERE id = 'u1'") == [("SCORED",)])
        (flows / "unsure.toml").write_text(UNSURE.replace("threshold = 7", "threshold = 1.0"))
        waits = "SELECT status FROM item WHERE id = 'u1'"
        until(lambda: pipeline.rows(waits) == [("HUMAN_REVIEW",)], seconds=60)

        # If I edit the second's policy, I expect the first's to stay as it was.
        path = flows / "tweets.toml"
        path.write_text(
            path.read_text().replace("always_review = []", 'always_review = ["neutral"]')
        )
        until(lambda: pipeline.log("router").count('"policy in use"') == 1, seconds=30)

        # If somebody reviews tweets only, I expect them to see nothing else, and its own labels.
        pipeline.add_reviewer("ada", "tweets")
        pipeline.add_reviewer("bob")
        with browser_of(pipeline, "ada") as ada, browser_of(pipeline, "bob") as bob:
            [theirs] = ada.get("/api/v1/me").json()["workflows"]
            assert (theirs["name"], theirs["labels"]) == ("tweets", LABELS)
            names = {each["name"] for each in bob.get("/api/v1/me").json()["workflows"]}
            assert names == {"sentiment", "tweets", "unsure"}
            mine = claim(ada)
            assert mine
            assert {task["workflow"] for task in mine} == {"tweets"}
            assert decide(ada, mine[0], "neutral").status_code == 200
            assert {each["workflow"] for each in ada.get("/api/v1/stats").json()["queues"]} <= {
                "tweets"
            }
            [other, *_] = claim(bob, workflow="sentiment")
            assert decide(bob, other, "neutral").status_code == 422
            for answer in (
                ada.get("/api/v1/tasks", params={"workflow": "sentiment"}),
                ada.post("/api/v1/tasks/claim", json={"workflow": "sentiment"}),
                ada.get(f"/api/v1/tasks/{other['id']}"),
                ada.get(f"/api/v1/items/sentiment/{other['item_id']}"),
                decide(ada, other, "negative"),
            ):
                assert answer.status_code == 404
        [message] = [
            message
            for message in program.drain("hitl.tweets.accepted")
            if message.routing_key == "item.reviewed.tweets"
        ] or program.take("hitl.tweets.accepted", 1)
        assert json.loads(message.body)["decision"]["label"] == "neutral"
