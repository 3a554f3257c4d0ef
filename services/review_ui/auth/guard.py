"""ASGI guard: which requests get through, and the security headers of the answers.

One ASGI layer around everything, Gradio included: an allow-list of paths, no writes from other
sites, a size limit, login before any page, and a Content-Security-Policy with a fresh nonce.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.review_ui.auth.sessions import COOKIE
from shared.errors import Overloaded

MAX_BODY_BYTES = 1_048_576
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = re.compile(
    r"/(login|metrics|healthz|readyz|favicon\.ico|ui/(\w+/){0,2}[\w.-]+|api/v1(/.*)?)"
)
_PAGES = re.compile(r"/(history|dashboard)?")
# What Gradio's own front end loads; uploads, files, proxies, calls by name and the rest stay shut.
_GRADIO = re.compile(
    r"/(assets/[\w./-]+|static/[\w./-]+|svelte/[\w./-]+|theme\.css|config/?|manifest\.json"
    r"|gradio_api/(startup-events|theme\.css))"
)
# A page's own functions; each asks who calls (see pages/frame.py).
_CALLS = re.compile(r"/gradio_api/run/predict")
_MAX_TEXT_CHARACTERS = 1_000  # that a page's function is given
_SCRIPT = re.compile(rb"<script(?=[\s>])", re.IGNORECASE)


class Guard:
    """The layer. `session_ok(cookie, thorough)` says whether a cookie is good; thorough looks the
    account up, the quick way only reads signature and time (for scripts and styles)."""

    def __init__(self, app: ASGIApp, session_ok: Callable[[str | None, bool], bool]) -> None:
        self._app = app
        self._session_ok = session_ok

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks WebSocket
        headers = Headers(scope=scope)
        nonce = secrets.token_urlsafe(16)
        is_page = _PAGES.fullmatch(scope["path"]) is not None
        secured = _SecurityHeaders(
            send, scope["path"], nonce, secure=scope["scheme"] == "https", page=is_page
        )
        try:
            refusal = await self._refusal(scope, headers)
        except Overloaded:
            refusal = database_unreachable()
        if refusal is not None:
            await refusal(scope, receive, secured.send)
            return
        receive = _limited(receive)
        if _CALLS.fullmatch(scope["path"]):
            try:
                receive = await _plain_call(receive)
            except HTTPException as error:
                code = "invalid_request" if error.status_code == 422 else "http_413"
                answer = problem(error.status_code, code, error.detail)
                await answer(scope, receive, secured.send)
                return
        await self._app(scope, receive, secured.send)

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path, method = scope["path"], scope["method"]
        # A bearer token is no browser's habit: no other site can send it, and where it is sent the
        # cookie does not count (see access.py).
        by_token = path.startswith("/api/v1/") and "authorization" in headers
        if method not in _SAFE_METHODS and not by_token and not same_origin(headers):
            return problem(
                403, "cross_origin", "Requests that change data must come from this site."
            )
        if _length(headers) > MAX_BODY_BYTES:
            return problem(413, "http_413", f"A body has at most {MAX_BODY_BYTES} bytes.")
        if _OPEN.fullmatch(path):
            return None  # the API asks for itself
        cookie = cookie_of(headers)
        if _PAGES.fullmatch(path) and method in ("GET", "HEAD"):
            if await run_in_threadpool(self._session_ok, cookie, True):
                return None
            return RedirectResponse(_login(path, scope["query_string"].decode("latin-1")), 303)
        loads = _GRADIO.fullmatch(path) and ".." not in path and method in ("GET", "HEAD")
        if loads or (_CALLS.fullmatch(path) and method == "POST"):
            if self._session_ok(cookie, False):
                return None
            return problem(401, "login_required", "Log in at /login first.")
        return problem(404, "not_found", "There is nothing here; see /api/v1/docs.")


def _login(path: str, query: str) -> str:
    """The login page, which leads back to what was asked for."""
    wanted = f"{path}?{query}" if query else path
    return "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='')}"


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a write may come from where it says (Fetch Metadata first, then Origin).

    Browsers send at least one of the two on every POST; a program that sends neither has no
    browser's cookies to abuse.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """The session cookie's value."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def problem(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The shape of every error: a code for programs, a text that says what to do."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


def database_unreachable() -> JSONResponse:
    """The answer to whatever needs the database during an outage."""
    text = "The database is unreachable; try again shortly."
    return problem(503, "database_away", text, {"Retry-After": "1"})


def content_security_policy(nonce: str) -> str:
    """Only our own scripts; `unsafe-eval` because Gradio compiles component templates."""
    return (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


class _SecurityHeaders:
    """Sends an answer with the security headers; puts the nonce on a page's scripts."""

    def __init__(self, send: Send, path: str, nonce: str, *, secure: bool, page: bool) -> None:
        self._send = send
        self._path = path
        self._nonce = nonce
        self._secure = secure
        self._page = page
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._add_headers(MutableHeaders(raw=message["headers"]))
            if self._page:
                self._start = message  # held back: the body's length will change
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = _SCRIPT.sub(f'<script nonce="{self._nonce}"'.encode(), self._body)
            start, self._start = self._start, None
            headers = MutableHeaders(raw=start["headers"])
            if "content-length" in headers and self._body:
                headers["content-length"] = str(len(body))
            await self._send(start)
            message = {**message, "body": body}
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["content-security-policy"] = content_security_policy(self._nonce)
        headers["x-content-type-options"] = "nosniff"
        headers["x-frame-options"] = "DENY"
        headers["referrer-policy"] = "no-referrer"
        headers["cross-origin-opener-policy"] = "same-origin"
        headers["cross-origin-resource-policy"] = "same-origin"
        headers["permissions-policy"] = "camera=(), microphone=(), geolocation=()"
        if self._secure:
            headers["strict-transport-security"] = "max-age=31536000"
        if self._page or self._path.startswith("/api/"):
            headers["cache-control"] = "no-store"
        elif self._path.startswith("/ui/"):
            headers["cache-control"] = "no-cache"  # asked again each time: all parts of one version


def _length(headers: Mapping[str, str]) -> int:
    announced = headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else 0


def _limited(receive: Receive) -> Receive:
    """Counts a body that came without a length."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MAX_BODY_BYTES:
            raise HTTPException(413, f"A body has at most {MAX_BODY_BYTES} bytes.")
        return message

    return counted


async def _plain_call(receive: Receive) -> Receive:
    """The same call of a page's function, where it is given nothing but texts.

    Gradio takes an object that looks like a file for one and copies what it names, whatever file or
    address that is, before the function is asked.

    Raises:
        HTTPException: 422, it is given something else; 413, it is too large.
    """
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        call = None
    if not (isinstance(call, dict) and _all_texts(call.get("data"))):
        raise HTTPException(422, "A page's function takes a list of texts.")
    # Written anew: what was looked at and what is read must not be two things.
    whole: list[Message] = [{"type": "http.request", "body": json.dumps(call).encode()}]

    async def replayed() -> Message:
        return whole.pop() if whole else await receive()

    return replayed


def _all_texts(given: object) -> bool:
    return isinstance(given, list) and all(
        each is None or (isinstance(each, str) and len(each) <= _MAX_TEXT_CHARACTERS)
        for each in given
    )
