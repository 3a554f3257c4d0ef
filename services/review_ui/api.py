"""How do the review screen and other programs talk to the review service? REST under `/api/v1`."""

from typing import Any

from fastapi import APIRouter, Depends, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from services.review_ui import (
    api_batches,
    api_decisions,
    api_export,
    api_highlights,
    api_items,
    api_leads,
    api_session,
    api_tasks,
    api_webhooks,
)
from services.review_ui.access import authorize
from services.review_ui.api_strict import nothing_unread
from services.review_ui.desk import Desk
from services.review_ui.schemas import ErrorAnswer
from services.review_ui.sessions import COOKIE

_TOKEN = HTTPBearer(auto_error=False, description="from `hitl token create`")
_SESSION = APIKeyCookie(name=COOKIE, auto_error=False, description="from POST /api/v1/login")

_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 403, 422, 503)
}


def routes(desk: Desk) -> APIRouter:
    """All of `/api/v1`, bound to `desk`; who may call what is in `access.ACCESS`."""
    api = APIRouter(
        prefix="/api/v1",
        responses=_ERRORS,
        # The first two only tell the OpenAPI document what `authorize` looks at.
        dependencies=[
            Security(_TOKEN),
            Security(_SESSION),
            Depends(authorize(desk)),
            Depends(nothing_unread),
        ],
    )
    for question in (
        api_session,
        api_tasks,
        api_highlights,
        api_batches,
        api_decisions,
        api_leads,
        api_items,
        api_export,
        api_webhooks,
    ):
        api.include_router(question.routes(desk))
    return api
