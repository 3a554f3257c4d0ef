"""Do programs that choose ports at the same moment choose different ones?"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hitl.servers import ports
from hitl.servers.home import ServiceState
from hitl.servers.ports import claim, free_ports, is_free, port_from
from hitl.stack.fleet import look

ROOT = Path(__file__).parents[3]
# Chooses as a stack does, says what, and takes its time to bind, as servers do.
CHOOSER = """
import sys
from hitl.servers import ports
ports.LOWEST, ports.HIGHEST = 31_000, 31_200
sys.stdin.readline()
services = [ports.port_from(int(sys.argv[1]), f"service {n}") for n in range(5)]
print(*services, *ports.free_ports(6), flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _few_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that two who choose at random would soon meet."""
    monkeypatch.setattr(ports, "LOWEST", 31_200)
    monkeypatch.setattr(ports, "HIGHEST", 31_400)


@contextmanager
def choosers(count: int, first: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that wait for a line, choose, and hold what they chose until the end."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CHOOSER, str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for one in started:
            one.communicate("\n\n")


def chosen(program: subprocess.Popen[str]) -> list[int]:
    assert program.stdout is not None
    return list(map(int, program.stdout.readline().split()))


def go(program: subprocess.Popen[str]) -> None:
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def test_stacks_that_choose_at_once_choose_different_ports() -> None:
    # Given eight programs that want the same usual ports, and others of a small range
    with choosers(8, first=31_150) as programs:
        for one in programs:
            go(one)
        # I expect 88 different ports, though nothing listens on any of them yet
        found = [port for one in programs for port in chosen(one)]
        assert len(set(found)) == len(found) == 8 * 11
        assert all(map(is_free, found))


def test_what_a_killed_program_had_chosen_is_to_be_had_again() -> None:
    with choosers(1, first=31_180) as [program]:
        go(program)
        port = chosen(program)[0]
        assert not claim(port)
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    assert claim(port)


def test_a_port_is_its_owners_also_when_he_asks_again_and_no_other_of_the_same_process() -> None:
    [port] = free_ports(1, "one")
    assert claim(port, "one")
    assert not claim(port, "another")
    assert port_from(port, "one") == port
    assert port_from(port, "another") != port


def test_zero_is_any_port_and_the_end_of_the_range_no_end() -> None:
    assert port_from(0, "one") in range(31_200, 31_400)
    # Given the last port of all taken, I expect one of ours
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as somebody:
        taken = somebody.server_port
        assert port_from(taken, "one") > taken
    assert claim(65_535, "somebody")
    assert port_from(65_535, "one") in range(31_200, 31_400)


def test_a_process_that_chooses_for_ever_holds_a_few_ports_only() -> None:
    for _ in range(3):
        assert len(set(free_ports(100))) == 100
    assert len(ports._claims) <= ports.MAX_CLAIMS


class Another(BaseHTTPRequestHandler):
    """A service of another stack, which is ready."""

    def do_GET(self) -> None:
        body = json.dumps({"status": "ready", "problems": {}, "refused": {}, "pid": 1}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_service_is_not_ready_because_somebody_else_on_its_port_is() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Another) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert look(ServiceState("review_ui", server.server_port, pid=1)).ready
            assert not look(ServiceState("review_ui", server.server_port, pid=2)).ready
            assert not look(ServiceState("review_ui", server.server_port, pid=None)).ready
        finally:
            server.shutdown()
