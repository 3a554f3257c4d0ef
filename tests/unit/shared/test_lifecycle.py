"""Does a process say whether it is ready, and does a signal do no more than tell it to stop?"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from hitl.servers.ports import free_ports
from shared.errors import ConfigurationError
from shared.service.lifecycle import Lifecycle, respond, service
from shared.service.settings import Settings

ROOT = Path(__file__).parents[3]
HERE = {**os.environ, "PYTHONPATH": str(ROOT)}


def readiness(lifecycle: Lifecycle) -> tuple[int, dict[str, str]]:
    status, _, body = respond(lifecycle, "/readyz")
    return status, json.loads(body)["problems"]


def test_it_is_ready_when_every_check_is_and_until_it_stops() -> None:
    lifecycle = Lifecycle()
    assert readiness(lifecycle) == (503, {"lifecycle": "starting"}), "nothing is checked yet"
    problem: list[str | None] = ["the database is away"]
    lifecycle.add_check("database", lambda: problem[0])
    lifecycle.add_check("rabbitmq", lambda: None)
    assert readiness(lifecycle) == (503, {"database": "the database is away"})
    problem[0] = None
    assert readiness(lifecycle) == (200, {})
    lifecycle.stopping.set()
    assert readiness(lifecycle) == (503, {"lifecycle": "stopping"})


def test_a_refused_workflow_is_told_and_leaves_the_service_ready() -> None:
    # Given a service that serves all but one workflow, for two reasons
    lifecycle = Lifecycle()
    lifecycle.add_check("rabbitmq", lambda: None)
    lifecycle.add_refusals(lambda: {"tweets": "no model"})
    lifecycle.add_refusals(lambda: {"tweets": "mode: unknown", "mails": "no file"})
    lifecycle.add_refusals(lambda: {"mails": "no file"})
    status, _, body = respond(lifecycle, "/readyz")
    assert status == 200
    assert json.loads(body)["refused"] == {"tweets": "no model; mode: unknown", "mails": "no file"}


def test_it_is_alive_also_when_it_is_not_ready() -> None:
    lifecycle = Lifecycle()
    lifecycle.add_check("database", lambda: "away")
    assert respond(lifecycle, "/healthz")[0] == 200
    assert b"hitl_messages_consumed_total" in respond(lifecycle, "/metrics")[2]
    assert respond(lifecycle, "/")[0] == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_the_service_to_stop(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with service("test", port=None, settings=Settings()) as lifecycle:
        assert not lifecycle.stopping.is_set()
        os.kill(os.getpid(), number)
        assert lifecycle.stopping.wait(5)
    assert signal.getsignal(number) is before


INTERRUPTED_AT_THE_WRONG_MOMENT = """
import os, signal
from shared.service.lifecycle import service
from shared.service.settings import Settings

with service("test", port=None, settings=Settings()) as lifecycle:
    with lifecycle.stopping._cond:  # as within each `wait`
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100_000):
            pass
    assert lifecycle.stopping.wait(5)
"""


def test_a_signal_never_waits_for_what_it_interrupts() -> None:
    # If a signal comes while the main thread holds the lock of the very event that is to be set
    # I expect the event to be set a moment later, and no deadlock
    command = [sys.executable, "-P", "-c", INTERRUPTED_AT_THE_WRONG_MOMENT]
    subprocess.run(command, cwd=ROOT, env=HERE, check=True, timeout=20)


WAITING_AND_INTERRUPTED = """
import os, signal, threading, time
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.topology import topology
from shared.messaging.worker import Worker

settings = Settings.from_environment({"AMQP_URL": "amqp://127.0.0.1:1/"})
with service("test", port=None, settings=settings) as lifecycle:
    worker = Worker(
        service="test", settings=settings, topology=topology(["sentiment"], (1,)),
        lifecycle=lifecycle, queues=["q"], handler=None, prefetch=1, max_batch=1,
    )
    signal.signal(signal.SIGALRM, lambda *_: time.sleep(0.3))  # as long as a busy machine takes
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.7)
    threading.Timer(2.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    worker.run()
    signal.setitimer(signal.ITIMER_REAL, 0)  # its handler goes before the interpreter does
"""


def test_a_worker_that_waits_for_messages_hears_every_signal() -> None:
    # Given an idle worker, and signals whose handling takes longer than it wanted to wait
    # When it is told to stop, I expect it to end
    command = [sys.executable, "-P", "-c", WAITING_AND_INTERRUPTED]
    subprocess.run(command, cwd=ROOT, env=HERE, check=True, timeout=30)


def test_the_pages_are_served_while_the_service_runs() -> None:
    [port] = free_ports(1)
    page = f"http://127.0.0.1:{port}"
    with service("test", port=port, settings=Settings()) as lifecycle:
        lifecycle.add_check("database", lambda: "away")
        with urlopen(f"{page}/healthz?probe=1") as answer:
            assert json.load(answer) == {"status": "alive"}
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{page}/readyz")
        with refused.value as answer:
            assert answer.code == 503
            assert json.load(answer)["problems"] == {"database": "away"}
        with (
            pytest.raises(ConfigurationError, match=str(port)),
            service("second", port=port, settings=Settings()),
        ):
            pass
    with pytest.raises(OSError, match="refused"):
        urlopen(f"{page}/healthz")
