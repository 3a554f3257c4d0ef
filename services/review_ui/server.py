"""Runs the web server, the intake and the relay in one process; they stop together."""

import logging
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from shared.errors import ConfigurationError
from shared.messaging.connection import Broker
from shared.service.lifecycle import Lifecycle

logger = logging.getLogger(__name__)
REQUEST_SECONDS = 5  # what a request under way may still take after the stop
_WATCH_SECONDS = 0.5


def listen(host: str, port: int) -> socket.socket:
    """A bound socket.

    Raises:
        ConfigurationError: the address is in use, or not one of this host.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol's number, not 0: asyncio sends at once (TCP_NODELAY) only where it sees TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror}); set another HITL_REVIEW_PORT"
        ) from None
    return bound


def run_until_stopped(
    app: ASGIApp,
    bound: socket.socket,
    *,
    intake: Callable[[], None],
    relay: Callable[[threading.Event], None],
    webhooks: Callable[[threading.Event], None],
    lifecycle: Lifecycle,
    broker: Broker,
    seconds: float,
) -> bool:
    """Serves until `lifecycle.stopping`; then the web server ends first, and the relay last, so
    that it still publishes what is due. `broker` is the relay's; a stop takes up to `seconds`.
    False: a part ended by itself."""
    web = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=REQUEST_SECONDS,
        )
    )
    relay_stopping = threading.Event()
    threads = {
        name: threading.Thread(target=run, name=name, daemon=True)
        for name, run in {
            "web": lambda: web.run([bound]),
            "intake": intake,
            "webhooks": lambda: webhooks(lifecycle.stopping),
            "relay": lambda: relay(relay_stopping),
        }.items()
    }
    lifecycle.add_check("web", lambda: None if web.started else "starting")
    broker.start()
    for thread in threads.values():
        thread.start()
    died: list[str] = []
    while not lifecycle.stopping.wait(_WATCH_SECONDS):
        died = [name for name, thread in threads.items() if not thread.is_alive()]
        if died:
            logger.error("a thread ended by itself; stopping the service", extra={"parts": died})
            lifecycle.stopping.set()
    web.should_exit = True
    threads["web"].join(REQUEST_SECONDS + 2)
    threads["intake"].join(seconds * 0.5)
    threads["webhooks"].join(seconds * 0.1)
    relay_stopping.set()
    threads["relay"].join(seconds * 0.3)
    broker.close()
    return not died
