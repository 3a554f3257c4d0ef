"""Posts a webhook, only to where it may go, and says what came of it.

A webhook's address is somebody's input, so it must not reach what only this host can (SSRF): the
address that the name stands for is checked at each attempt, and that very address is connected to.
No redirect is followed, no proxy used, and of an answer nothing is kept but its status.
"""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from shared.errors import HitlError

MAX_URL_CHARACTERS = 2_000
_MAX_RETRY_AFTER_SECONDS = 86_400
_URL = re.compile(rf"https?://[\x21-\x7e]{{1,{MAX_URL_CHARACTERS}}}")
# Where clouds tell a host its credentials, beside the link-local 169.254.169.254; the last two look
# like addresses of the world.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
_PORTS = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadAddress(HitlError):
    """Nothing may be sent there; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one attempt. `status` None: no answer; `error` None: a 2xx."""

    status: int | None
    error: str | None
    retry_after_seconds: int = 0


Post = Callable[[str, bytes, Mapping[str, str]], Answer]
"""Sends a body with headers to a URL; whatever goes wrong is in the answer."""


def checked_url(url: str, *, private: bool) -> SplitResult:
    """The parts of a URL that a webhook may have. `private`: see `refusal`.

    Raises:
        BadAddress: it is no http(s) URL, names a user, or an address that is refused.
    """
    if not _URL.fullmatch(url):
        raise BadAddress("a webhook's URL must start with http:// or https://, in ASCII, no spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise BadAddress("this is not a URL") from None
    if not host or port == 0:
        raise BadAddress("the URL names no host")
    if parts.username is not None or parts.password is not None:
        raise BadAddress("the URL must not contain user and password; deliveries are signed")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return parts  # a name: looked up at each attempt
    problem = refusal(literal, private=private)
    if problem is not None:
        raise BadAddress(problem)
    return parts


def refusal(address: Address, *, private: bool) -> str | None:
    """Why nothing may be sent to the address; None where it may. `private`: loopback and private
    networks are allowed. Link-local ones, where clouds keep their credentials, never are."""
    if isinstance(address, ipaddress.IPv6Address):
        within = address.ipv4_mapped or address.sixtofour
        if within is not None:
            return refusal(within, private=private)
    site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    inside = address.is_loopback or site or not (address.is_global or address.is_link_local)
    special = address.is_multicast or address.is_unspecified or address in _METADATA
    if address.is_link_local or special or (address.is_reserved and not address.is_loopback):
        return "link-local, multicast and reserved addresses are refused"
    if inside and not private:
        return "loopback and private addresses are refused; see HITL_WEBHOOK_PRIVATE"
    return None


def http_post(*, private: bool, timeout_seconds: float) -> Post:
    """A `Post` that waits `timeout_seconds` to connect and as long again for the answer."""
    tls = ssl.create_default_context()

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        late = threading.Event()
        try:
            parts = checked_url(url, private=private)
            connected = _connect(parts, private, timeout_seconds)
            if parts.scheme == "https":
                connected = tls.wrap_socket(
                    connected, server_hostname=parts.hostname, do_handshake_on_connect=False
                )
            # A time-out counts per read: only this ends an answer that comes drop by drop.
            alarm = threading.Timer(timeout_seconds, _shut, [connected, late])
            alarm.daemon = True
            alarm.start()
            try:
                with connected:
                    answer = _exchange(connected, parts, body, headers)
            finally:
                alarm.cancel()
            if late.is_set():  # http.client takes headers that break off for whole ones
                raise TimeoutError
            return answer
        except BadAddress as error:
            return Answer(None, str(error))
        except (OSError, HTTPException, ValueError) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                return Answer(None, f"no answer within {timeout_seconds:g} s")
            if isinstance(error, ssl.SSLError):
                return Answer(None, f"TLS: {error.reason or 'failed'}")
            return Answer(None, f"no answer: {type(error).__name__}")

    return post


def _connect(parts: SplitResult, private: bool, timeout_seconds: float) -> socket.socket:
    port = parts.port or _PORTS[parts.scheme]
    found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
        problem = refusal(address, private=private)
        if problem is not None:
            raise BadAddress(problem)
    failed = OSError("the host name does not resolve")
    for family, kind, protocol, _, where in found:
        connected = socket.socket(family, kind, protocol)
        connected.settimeout(timeout_seconds)
        try:
            connected.connect(where)
        except OSError as error:
            connected.close()
            failed = error
        else:
            return connected
    raise failed


def _exchange(
    connected: socket.socket, parts: SplitResult, body: bytes, headers: Mapping[str, str]
) -> Answer:
    if isinstance(connected, ssl.SSLSocket):
        connected.do_handshake()
    connection = HTTPConnection(parts.hostname or "")
    connection.sock = connected  # so it makes none of its own
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("POST", path, body, {"Host": parts.netloc, **headers})
    answer = connection.getresponse()
    with answer:
        waits = answer.headers.get("retry-after", "")
    after = int(waits) if waits.isascii() and waits.isdecimal() and len(waits) < 10 else 0
    return Answer(
        answer.status,
        None if 200 <= answer.status < 300 else f"HTTP {answer.status}",
        min(after, _MAX_RETRY_AFTER_SECONDS),
    )


def _shut(connected: socket.socket, late: threading.Event) -> None:
    late.set()
    with suppress(OSError):  # it may be over already
        # The plain socket's: an SSLSocket's own would forget its state under a reader's hands.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
