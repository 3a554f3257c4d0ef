"""Does what we answer leave at once, and not when the client's kernel has acknowledged the piece
before it, which takes 40 ms? (Nagle's algorithm and delayed ACKs; TCP_NODELAY ends it.)"""

import asyncio
import importlib.util
import socket
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.request import urlopen

import pytest
import uvicorn

from services.review_ui.server import listen
from shared.service.lifecycle import Lifecycle, _serve

ROOT = Path(__file__).parents[3]


def sends_at_once(accepted: socket.socket) -> bool:
    return bool(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_review_page_and_api_send_at_once(host: str) -> None:
    # Given the socket that the review UI listens on, and its web server on it
    bound = listen(host, 0)
    found: list[bool] = []

    async def app(scope: object, receive: object, send: object) -> None:
        """Nobody asks for anything."""

    class Noticing(uvicorn.Config):
        """Looks at each connection that the server was given."""

        def load(self) -> None:
            super().load()
            protocol = self.http_protocol_class

            class Noticed(protocol):  # type: ignore[misc, valid-type]  # chosen by uvicorn
                def connection_made(self, transport: asyncio.Transport) -> None:
                    found.append(sends_at_once(transport.get_extra_info("socket")))
                    super().connection_made(transport)

            self.http_protocol_class = Noticed

    async def serve() -> None:
        server = uvicorn.Server(Noticing(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve([bound]))
        while not server.started:
            await asyncio.sleep(0.01)
        _, writer = await asyncio.open_connection(*bound.getsockname()[:2])
        while not found:
            await asyncio.sleep(0.01)
        writer.close()
        server.should_exit = True
        await serving

    # If a client connects, I expect what it is sent not to wait. (On a thread of its own: where a
    # browser was driven before, this one has a loop that runs.)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, asyncio.wait_for(serve(), 30)).result()
    finally:
        bound.close()
    assert found == [True]


def accepted_by(server: ThreadingHTTPServer, path: str) -> list[bool]:
    """Whether what it accepts sends at once, for one request."""
    found: Queue[bool] = Queue()
    ended = server.shutdown_request

    def noticed(request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        found.put(sends_at_once(request))
        ended(request)

    server.shutdown_request = noticed  # type: ignore[method-assign]  # to look at the socket
    with urlopen(f"http://127.0.0.1:{server.server_address[1]}{path}", timeout=10):
        pass
    first = found.get(timeout=10)  # the answer is here before its thread is done
    server.shutdown()
    server.server_close()
    return [first]


def test_metrics_and_health_are_sent_at_once() -> None:
    assert accepted_by(_serve(Lifecycle(), "127.0.0.1", 0), "/healthz") == [True]


def test_the_auditor_s_page_is_sent_at_once(tmp_path: Path) -> None:
    # Given the program of the container `audit`, which is no package
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "docker" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: type[BaseHTTPRequestHandler] = module.pages(tmp_path / "none")
    assert handler.disable_nagle_algorithm
