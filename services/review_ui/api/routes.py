"""All REST routes under `/api/v1`, for the review screen and other programs."""

from fastapi import APIRouter, Depends, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from services.review_ui.api import (
    batches,
    decisions,
    export,
    highlights,
    items,
    leads,
    session,
    tasks,
    webhooks,
)
from services.review_ui.api.access import authorize
from services.review_ui.api.context import RequestContext
from services.review_ui.api.schemas import errors
from services.review_ui.api.strict import nothing_unread
from services.review_ui.auth.sessions import COOKIE

_TOKEN = HTTPBearer(auto_error=False, description="from `hitl token create`")
_SESSION = APIKeyCookie(name=COOKIE, auto_error=False, description="from POST /api/v1/login")


def routes(context: RequestContext) -> APIRouter:
    """All of `/api/v1`, bound to `context`; who may call what is in `access.ACCESS`."""
    api = APIRouter(
        prefix="/api/v1",
        responses=errors(400, 401, 403, 422, 503),
        # The first two only tell the OpenAPI document what `authorize` looks at.
        dependencies=[
            Security(_TOKEN),
            Security(_SESSION),
            Depends(authorize(context)),
            Depends(nothing_unread),
        ],
    )
    for question in (
        session,
        tasks,
        highlights,
        batches,
        decisions,
        leads,
        items,
        export,
        webhooks,
    ):
        api.include_router(question.routes(context))
    return api
