"""Who may call which route, in one table: a token's scope, and a person's role.

A request with an `Authorization` header is judged by its token alone (RFC 6750); the session cookie
counts only where there is none. So a page of another site can never use both at once. A page says
for whom it speaks: all tabs of a browser share one cookie, and another tab may log in anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request

from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.auth.accounts import Account, Role
from services.review_ui.auth.sessions import COOKIE
from services.review_ui.auth.tokens import Scope

SPEAKS_FOR = "x-hitl-reviewer"
"""The name for whom a page speaks, percent-encoded; without it the cookie alone says who calls."""
_RANK: Mapping[Role, int] = {"reviewer": 0, "lead": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Need:
    """What a call takes. `scope` None: no token opens this, it is about the session itself."""

    scope: Scope | None
    role: Role = "reviewer"


# (method, path below /api/v1) → what it takes; None: anybody may call it.
ACCESS: Mapping[tuple[str, str], Need | None] = {
    ("POST", "/login"): None,
    ("POST", "/logout"): Need(None),
    ("GET", "/me"): Need("tasks:read"),
    ("GET", "/tasks"): Need("tasks:read"),
    ("GET", "/tasks/next"): Need("tasks:read"),
    ("GET", "/tasks/{task_id}"): Need("tasks:read"),
    ("GET", "/tasks/{task_id}/highlights"): Need("tasks:read"),
    ("POST", "/tasks/claim"): Need("tasks:write"),
    ("POST", "/tasks/heartbeat"): Need("tasks:write"),
    ("POST", "/tasks/release"): Need("tasks:write"),
    ("POST", "/tasks/accept-batch/preview"): Need(None, "lead"),
    ("POST", "/tasks/accept-batch"): Need(None, "lead"),
    ("POST", "/tasks/accept-batch/{batch}/undo"): Need(None, "lead"),
    ("GET", "/disputes"): Need("tasks:read", "lead"),
    ("GET", "/holders"): Need(None, "lead"),
    ("POST", "/holders/release"): Need(None, "lead"),
    ("POST", "/tasks/{task_id}/decision"): Need("tasks:write"),
    ("POST", "/tasks/{task_id}/reopen"): Need(None, "lead"),
    ("GET", "/quality"): Need("export", "lead"),
    ("GET", "/decisions"): Need("tasks:read"),
    ("POST", "/decisions/{key}/undo"): Need("tasks:write"),
    ("GET", "/stats"): Need("stats:read"),
    ("GET", "/export/{what}"): Need("export", "lead"),
    ("GET", "/webhooks"): Need("webhooks", "admin"),
    ("POST", "/webhooks"): Need("webhooks", "admin"),
    ("GET", "/webhooks/deliveries"): Need("webhooks", "admin"),
    ("POST", "/webhooks/deliveries/{delivery_id}/retry"): Need("webhooks", "admin"),
    ("PATCH", "/webhooks/{webhook_id}"): Need("webhooks", "admin"),
    ("DELETE", "/webhooks/{webhook_id}"): Need("webhooks", "admin"),
    ("POST", "/webhooks/{webhook_id}/rotate"): Need("webhooks", "admin"),
    ("POST", "/webhooks/{webhook_id}/test"): Need("webhooks", "admin"),
    ("POST", "/webhooks/{webhook_id}/retry"): Need("webhooks", "admin"),
    ("POST", "/items"): Need("items:write", "lead"),
    ("GET", "/items"): Need("items:read"),
    ("GET", "/items/{workflow}/{item_id:path}"): Need("items:read"),
}


def authorize(context: RequestContext) -> Callable[[Request], None]:
    """The check before every route of the API: leaves the caller at `request.state.caller`."""

    def check(request: Request) -> None:
        need = ACCESS[request.method, request.scope["route"].path]
        if need is None:
            return
        given = request.headers.get("authorization")
        request.state.caller = (
            _by_cookie(context, request, need) if given is None else _by_token(context, given, need)
        )

    return check


def _caller(request: Request) -> Account:
    caller: Account = request.state.caller
    return caller


Here = Annotated[Account, Depends(_caller)]
"""Who calls, in a route's signature."""


def _by_cookie(context: RequestContext, request: Request, need: Need) -> Account:
    account = context.account(request.cookies.get(COOKIE))
    if account is None:
        text = "Log in: POST /api/v1/login, or open /login. Programs send a bearer token."
        raise ApiError(401, "login_required", text, {"WWW-Authenticate": "Bearer"})
    if unquote(request.headers.get(SPEAKS_FOR, account.name)) != account.name:
        raise ApiError(401, "another_login", "Another account has logged in in this browser since.")
    if _RANK[account.role] < _RANK[need.role]:
        raise ApiError(403, "role_required", f"This takes the role {need.role} or a higher one.")
    return account


def _by_token(context: RequestContext, given: str, need: Need) -> Account:
    kind, _, secret = given.partition(" ")
    found = context.token(secret.strip()) if kind.casefold() == "bearer" else None
    if found is None:
        text = "This bearer token is unknown, revoked or expired; see `hitl token list`."
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise ApiError(401, "invalid_token", text, challenge)
    if need.scope is None:
        raise ApiError(403, "session_only", "This call needs a login session; a token has none.")
    if need.scope not in found.scopes:
        text = f"This takes a token with the scope {need.scope}."
        challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{need.scope}"'}
        raise ApiError(403, "scope_required", text, challenge)
    return found.account()
