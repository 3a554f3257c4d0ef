"""The life of a service's process: its start, its health pages, and when it must stop."""

import _thread
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.errors import ConfigurationError
from shared.release import package_version
from shared.service import log
from shared.service.metrics import BUILD_INFO
from shared.service.settings import Settings

if TYPE_CHECKING:
    from shared.service.otel import Spans

logger = logging.getLogger(__name__)
# The standard variables; while neither is set, nothing of OpenTelemetry is imported.
COLLECTORS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Probe = Callable[[], str | None]
Refusals = Callable[[], Mapping[str, str]]


class Lifecycle:
    """The stop flag and the readiness checks of one process; safe to use from any thread."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.spans: Spans | None = None
        self._checks: dict[str, Probe] = {}
        self._refusals: list[Refusals] = []

    def add_check(self, name: str, probe: Probe) -> None:
        """`probe` answers None while all is well, else the problem in words; it must be quick."""
        self._checks[name] = probe

    def add_refusals(self, refusals: Refusals) -> None:
        """`refusals` names workflows that are not served as their files say, and why. That is told
        and alarmed, but the service is ready all the same: it serves the others."""
        self._refusals.append(refusals)

    def refused(self) -> dict[str, str]:
        """Workflow → why it is not served as its files say."""
        found: dict[str, str] = {}
        for refusals in tuple(self._refusals):
            for workflow, why in refusals().items():
                said = found.get(workflow)
                found[workflow] = why if said in (None, why) else f"{said}; {why}"
        return found

    def problems(self) -> dict[str, str]:
        """Why this process is not ready; empty when it is."""
        found = {}
        for name, probe in tuple(self._checks.items()):
            problem = probe()
            if problem is not None:
                found[name] = problem
        if self.stopping.is_set():
            found["lifecycle"] = "stopping"
        elif not self._checks:
            found["lifecycle"] = "starting"
        return found


def respond(lifecycle: Lifecycle, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body of an operations page; 404 for any other path."""
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    if path == "/healthz":
        return 200, "application/json", b'{"status": "alive"}\n'
    if path == "/readyz":
        problems = lifecycle.problems()
        body = json.dumps(
            {
                "status": "not ready" if problems else "ready",
                "problems": problems,
                "refused": lifecycle.refused(),
                "pid": os.getpid(),  # whoever started this one knows that it is no other
            }
        )
        return (503 if problems else 200), "application/json", body.encode() + b"\n"
    return 404, "text/plain", b"try /metrics, /healthz or /readyz\n"


@contextmanager
def service(name: str, *, port: int | None, settings: Settings) -> Iterator[Lifecycle]:
    """Logging, SIGTERM and SIGINT, and the operations pages for the length of the block.

    With `port` None the service serves the pages itself, by `respond`.
    """
    log.configure(name, settings.log_level)
    BUILD_INFO.labels(name, package_version()).set(1)
    lifecycle = Lifecycle()
    lifecycle.spans = spans_of(name, os.environ)

    def stop(number: int, _frame: FrameType | None) -> None:
        # Setting an event takes its lock, which the thread that is interrupted may hold just now;
        # of all ways to start a thread this one takes none.
        try:
            _thread.start_new_thread(lifecycle.stopping.set, ())
        except RuntimeError:  # none is left; the lock is nearly always free
            lifecycle.stopping.set()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    server = None if port is None else _serve(lifecycle, settings.http_host, port)
    logger.info("started", extra={"pid": os.getpid(), "port": port})
    try:
        yield lifecycle
    finally:
        lifecycle.stopping.set()
        if server is not None:
            server.shutdown()
            server.server_close()
        for number, handler in previous.items():
            signal.signal(number, handler)
        if lifecycle.spans is not None:
            lifecycle.spans.close()
        logger.info("stopped")


def start(name: str, main: Callable[[], bool | None]) -> NoReturn:
    """Runs a service's `main` and ends the process: with 1 where that answers False, and with the
    problem in words where the configuration is wrong."""
    try:
        sys.exit(1 if main() is False else 0)
    except ConfigurationError as error:
        sys.exit(f"{name}: {error}")


def spans_of(name: str, environment: Mapping[str, str]) -> "Spans | None":
    """Where a collector is named, what sends it this service's spans.

    Raises:
        ConfigurationError: the packages for it are not installed.
    """
    if not any(environment.get(variable) for variable in COLLECTORS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from shared.service.otel import Spans
    except ImportError as error:
        raise ConfigurationError(
            f"{' or '.join(COLLECTORS)} is set, but {error.name} is missing: install the extra otel"
        ) from error
    return Spans(name)


def _serve(lifecycle: Lifecycle, host: str, port: int) -> ThreadingHTTPServer:
    class Pages(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # headers and body are two writes
        timeout = 10  # a client that connects and says nothing must not hold a thread for ever

        def do_GET(self) -> None:
            status, content_type, body = respond(lifecycle, self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Scrapes are not logged."""

    try:
        server = ThreadingHTTPServer((host, port), Pages)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}); set another HITL_*_PORT"
        ) from None
    threading.Thread(target=server.serve_forever, name="operations", daemon=True).start()
    return server
