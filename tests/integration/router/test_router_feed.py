"""Does a running router follow its policy file, and never a bad one?"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import REGISTRY

from hitl.servers.ports import free_ports
from services.router.policies import Policies
from shared.errors import ConfigurationError
from shared.events.envelope import encode
from shared.events.models import Item, ItemScored, Prediction
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.service.settings import Settings
from shared.topology import topology
from shared.workflows.feed import WorkflowFeed
from shared.workflows.files import read_workflow_file
from tests.support.amqp_client import outsider, until

ROOT = Path(__file__).parents[3]
HEAD = '[workflow]\nname = "sentiment"\nlabels = ["negative", "positive"]\n[policy]\n'
HOT_RELOAD_SECONDS = 2.0
REFUSED = "workflow file rejected; the previous version stays in effect"


def write(folder: Path, policy: str) -> None:
    (folder / "sentiment.toml").write_text(HEAD + policy, encoding="utf-8")


def refused() -> float | None:
    return REGISTRY.get_sample_value("hitl_policy_refused", {"workflow": "sentiment"})


def read(folder: Path, *, salted: bool = True) -> Policies:
    policies = Policies(folder, salted=salted)
    policies.take(read_workflow_file(folder / "sentiment.toml"))
    return policies


def fed(policies: Policies, folder: Path) -> WorkflowFeed:
    return WorkflowFeed(Settings(workflows_dir=folder), policies.take, policies.take)


@contextmanager
def watching(folder: Path, *, salted: bool = True) -> Iterator[tuple[Policies, WorkflowFeed]]:
    policies = Policies(folder, salted=salted)
    feed = fed(policies, folder)
    stopping = threading.Event()
    feed.follow(policies.take, stopping)
    try:
        yield policies, feed
    finally:
        stopping.set()


def threshold(policies: Policies) -> float:
    policy = policies.policy("sentiment")
    assert policy is not None
    return policy.threshold


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def test_a_saved_policy_is_live_within_two_seconds(tmp_path: Path) -> None:
    # Given a feed on a file
    write(tmp_path, "threshold = 0.5")
    with watching(tmp_path) as (policies, _):
        assert threshold(policies) == 0.5
        assert policies.policy("another") is None
        # If I save another threshold, of the same length and with the same time stamp
        before = os.stat(tmp_path / "sentiment.toml")
        write(tmp_path, "threshold = 0.6")
        os.utime(tmp_path / "sentiment.toml", ns=(before.st_atime_ns, before.st_mtime_ns))
        # I expect it in use
        assert within(HOT_RELOAD_SECONDS, lambda: threshold(policies) == 0.6)
        # and just so when the file is replaced instead of written
        (tmp_path / "new").write_text(HEAD + "threshold = 0.7")
        (tmp_path / "new").replace(tmp_path / "sentiment.toml")
        assert within(HOT_RELOAD_SECONDS, lambda: threshold(policies) == 0.7)


@pytest.mark.parametrize(
    "bad",
    [
        "threshold = 7",
        "threshold = ",
        "threshold = 0.6\nlabel_thresholds = { angry = 0.1 }",
    ],
)
def test_an_invalid_policy_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "threshold = 0.5")
    with watching(tmp_path) as (policies, feed):
        look, looks = feed.look, threading.Semaphore(0)

        def counted() -> None:
            look()
            looks.release()

        monkeypatch.setattr(feed, "look", counted)
        # If I save nonsense, I expect one error in the log and on the metric, and no change
        write(tmp_path, bad)
        assert within(HOT_RELOAD_SECONDS, lambda: refused() == 1)
        # (looks after it must not repeat it)
        while looks.acquire(blocking=False):
            pass
        assert all(looks.acquire(timeout=20) for _ in range(3))
        assert [r.message for r in caplog.records if r.levelname == "ERROR"] == [REFUSED]
        assert threshold(policies) == 0.5
        # If I mend it, I expect the new policy
        write(tmp_path, "threshold = 0.8")
        assert within(HOT_RELOAD_SECONDS, lambda: threshold(policies) == 0.8)
        assert refused() == 0


def test_a_file_that_is_gone_changes_nothing_until_it_is_back(tmp_path: Path) -> None:
    write(tmp_path, "threshold = 0.5")
    with watching(tmp_path) as (policies, _):
        (tmp_path / "sentiment.toml").unlink()
        assert within(HOT_RELOAD_SECONDS, lambda: refused() == 1)
        assert threshold(policies) == 0.5
        write(tmp_path, "threshold = 0.5")
        assert within(HOT_RELOAD_SECONDS, lambda: refused() == 0)


def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    # Given a policy whose last line sends everything to people
    write(tmp_path, 'threshold = 0.5\nalways_review = ["positive"]')
    policies = Policies(tmp_path)
    feed = fed(policies, tmp_path)
    # If an editor has written only half of a new file when the feed looks
    write(tmp_path, "threshold = 0.4\n")
    feed.look()
    # I expect the old policy, until the file has stood still
    write(tmp_path, 'threshold = 0.4\nalways_review = ["positive"]')
    feed.look()
    assert threshold(policies) == 0.5
    feed.look()
    policy = policies.policy("sentiment")
    assert policy is not None
    assert (policy.threshold, policy.always_review) == (0.4, ("positive",))


def test_a_panel_without_a_secret_salt_is_refused(tmp_path: Path) -> None:
    # Without a salt anybody who knows an id could tell whether it will be audited.
    write(tmp_path, "threshold = 0.5\npanel = { rate = 0.1 }")
    with pytest.raises(ConfigurationError, match="HITL_PANEL_SALT"):
        read(tmp_path, salted=False)
    assert read(tmp_path).policy("sentiment") is not None


def test_a_certificate_without_a_secret_salt_is_refused_and_the_last_policy_stays(
    tmp_path: Path,
) -> None:
    # Given a router without a salt / If its file asks for a certificate, which needs a panel
    write(tmp_path, "threshold = 0.5")
    with watching(tmp_path, salted=False) as (policies, _):
        assert not policies.certifies()
        write(tmp_path, 'threshold = 0.5\nmode = "certified"')
        # I expect it refused
        assert within(HOT_RELOAD_SECONDS, lambda: refused() == 1)
        assert not policies.certifies()
    with pytest.raises(ConfigurationError, match="HITL_PANEL_SALT"):
        read(tmp_path, salted=False)
    assert read(tmp_path).certifies()


# -- the whole process -------------------------------------------------------------------------


@contextmanager
def router(amqp_url: str, folder: Path, port: int = 0) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "services.router"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "AMQP_URL": amqp_url,
            "HITL_WORKFLOWS_DIR": str(folder),
            "HITL_ROUTER_PORT": str(port),
        },
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_for_line(process: "subprocess.Popen[bytes]", words: bytes, seconds: float = 30) -> None:
    """Reads what a router says until it says this; the router is killed when the time is up, which
    ends what it says."""
    assert process.stderr is not None
    said: list[bytes] = []
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    try:
        for line in process.stderr:
            said.append(line)
            if words in line:
                return
    finally:
        killer.cancel()
    pytest.fail(f"not a word of {words!r} within {seconds} s; the last lines: {said[-5:]}")


def readiness(port: int) -> dict[str, str]:
    """The problems that a router names; one of the test's own where it does not answer yet."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            found: dict[str, str] = json.load(answer)["problems"]
    except HTTPError as error:
        with error:
            found = json.load(error)["problems"]
    except OSError:
        found = {"test": "no answer"}
    return found


def scored(item_id: str, text: str = "fine") -> Outgoing:
    now = datetime.now(UTC)
    event = ItemScored(
        workflow="sentiment",
        occurred_at=now,
        item=Item(id=item_id, text=text, received_at=now),
        prediction=Prediction(
            label="positive",
            confidence=0.7,
            distribution={"positive": 0.7, "negative": 0.3},
            model_version="m1",
        ),
    )
    return encode(event, source="test", traceparent="")


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    """A publisher with the whole topology declared, as any service would."""
    delays = Settings().retry_delays_seconds
    broker = Broker(amqp_url, name="test", topology=topology(["sentiment"], delays))
    broker.start()
    assert broker.wait_ready(20)
    yield broker
    broker.close()


def test_a_running_router_routes_by_the_file_as_it_is_now(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    # Given a router that accepts from 0.5 on
    write(tmp_path, "threshold = 0.5")
    with router(amqp_url, tmp_path) as process, outsider(amqp_url) as client:
        broker.publish([scored("before")])
        (accepted,) = client.take("hitl.sentiment.accepted", 1)
        # If I save 0.9 and then nonsense
        write(tmp_path, "threshold = 0.9")
        wait_for_line(process, b'"policy in use"')
        write(tmp_path, "threshold = 99")
        wait_for_line(process, b"workflow file rejected")
        # I expect a new item to go to a person, and the one from before to be what it was
        broker.publish([scored("after"), scored("before")])
        (asked,) = client.take("hitl.sentiment.review", 1)
        assert b'"below_threshold"' in asked.body
        (again,) = client.take("hitl.sentiment.accepted", 1)
        assert again.message_id == accepted.message_id
        # and an orderly end
        process.terminate()
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_messages_whose_properties_cannot_be_copied_are_dead_lettered_and_not_in_the_way(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    # Given properties that are not UTF-8 or as long as AMQP allows, and headers that fill a frame
    write(tmp_path, "threshold = 0.5")
    bad: list[dict[str, Any]] = [
        {"message_id": b"\xff\xfe", "content_encoding": b"\xff"},
        {"message_id": b"\xff" * 255},
        {"content_type": b"\xff" * 255},
        {"content_encoding": b"\xff" * 255},
        {"headers": {"mine": "kept", "large": "x" * 130_900, "last": "kept"}},
    ]
    with router(amqp_url, tmp_path), outsider(amqp_url) as client:
        for given in bad:
            client.publish(
                b"{}", exchange="hitl.events", routing_key="item.scored.sentiment", **given
            )
        # I expect dead letters with a reason, and the next item routed
        broker.publish([scored("next")])
        letters = client.take("hitl.router.dlq", len(bad))
        reasons = [letter.headers["x-hitl-reason"] for letter in letters]
        assert reasons == ["not_utf8", "schema", "schema", "not_utf8", "schema"]
        # of headers that leave no room for the reason, those that fit
        assert letters[-1].headers["mine"] == letters[-1].headers["last"] == "kept"
        assert "large" not in letters[-1].headers
        assert client.take("hitl.sentiment.accepted", 1)


def test_large_items_do_not_fill_the_memory_of_a_router(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    # Given items of the largest size that we take
    count, text = 400, "x" * Settings().max_body_bytes
    broker.publish([scored(f"large {number}", text) for number in range(count)])
    # If a router routes them
    write(tmp_path, "threshold = 0.5")
    with router(amqp_url, tmp_path) as process, outsider(amqp_url) as client:
        until(lambda: client.ready("hitl.sentiment.accepted") == count)
        status = Path(f"/proc/{process.pid}/status").read_text()
    # I expect its memory to stay within the limit of the Helm chart
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    assert peak_kib < 256 * 1024


def test_a_router_that_can_serve_nothing_stays_says_why_and_begins_with_what_is_mended(
    amqp_url: str, broker: Broker, tmp_path: Path
) -> None:
    # Given the one workflow there is, with an invalid policy
    write(tmp_path, "threshold = 99")
    (port,) = free_ports(1)
    with router(amqp_url, tmp_path, port) as process, outsider(amqp_url) as client:
        # I expect the router to stay, not to be ready, and to say what is wrong with which file;
        until(lambda: "workflows" in readiness(port), seconds=60)
        said = readiness(port)["workflows"]
        assert "sentiment.toml: threshold: Input should be less than or equal to 1" in said
        broker.publish([scored("early")])
        # an item to wait; and if the file is mended, to be routed by it, nobody doing anything.
        until(lambda: client.ready("hitl.router.retry.5s") == 1, seconds=20)
        write(tmp_path, "threshold = 0.5")
        until(lambda: readiness(port) == {}, seconds=20)
        assert client.take("hitl.sentiment.accepted", 1)
        process.terminate()
        _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"Traceback" not in log
