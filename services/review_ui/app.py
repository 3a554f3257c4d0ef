"""Composes the review service: API, screen, operations pages, the guard around it."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match
from starlette.types import ASGIApp

from services.review_ui.api.context import RequestContext, Respond
from services.review_ui.api.errors import ApiError
from services.review_ui.api.routes import routes
from services.review_ui.api.submit import Publish
from services.review_ui.auth.accounts import Accounts
from services.review_ui.auth.guard import Guard, database_unreachable, problem
from services.review_ui.auth.sessions import LoginThrottle, Sessions
from services.review_ui.reports.lists import BadCursor
from services.review_ui.reports.stats import Backlog
from services.review_ui.screen import gradio_app
from services.review_ui.tasks.decide import Refused
from services.review_ui.webhooks.store import NoWebhook
from shared.clock import Clock
from shared.errors import Overloaded, problems_of
from shared.release import package_version
from shared.service.metrics import REVIEWS
from shared.service.settings import Settings
from shared.storage.tables.review import ACTIONS
from shared.storage.time_limit import TooLong
from shared.workflows.files import Workflow

if TYPE_CHECKING:
    from shared.service.otel import Spans

logger = logging.getLogger(__name__)
ASSETS = Path(__file__).parent / "screen" / "assets"
_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
_MISSING = ("no_such_task", "no_such_decision")
_CONFLICTS = (
    "key_reused",
    "batch_full",
    "decided_since",
    "did_not_count",
    "undo_over",
    "holds_enough",
    "in_hand",
    "still_open",
)


def make_context(
    settings: Settings,
    workflows: Mapping[str, Workflow],
    engine: Engine,
    clock: Clock,
    respond: Respond,
    publish: Publish,
    spans: "Spans | None" = None,
) -> RequestContext:
    """What the requests share, from the settings."""
    for workflow in workflows:
        count(workflow)
    return RequestContext(
        engine=engine,
        clock=clock,
        workflows=workflows,
        accounts=Accounts(clock),
        sessions=Sessions(
            settings.session_secret.get_secret_value(), settings.session_hours, clock
        ),
        throttle=LoginThrottle(clock),
        backlog=Backlog(engine, workflows),
        respond=respond,
        publish=publish,
        lease_seconds=settings.lease_seconds,
        max_held_tasks=settings.max_held_tasks,
        undo_seconds=settings.undo_seconds,
        max_body_bytes=settings.max_body_bytes,
        webhook_private=settings.webhook_private,
        spans=spans,
    )


def count(workflow: str) -> None:
    """Shows its decisions from 0 on: a rate does not see a counter's first value."""
    for action in (*ACTIONS, "label"):
        REVIEWS.labels(workflow, action)


def make_app(context: RequestContext) -> ASGIApp:
    """The whole web application."""
    app = FastAPI(
        title="Human review",
        version=package_version(),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # FastAPI's page loads its scripts from another host
        redoc_url=None,
    )
    # Gradio reflects any origin unless the app around it decides for itself: nobody is allowed.
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.include_router(routes(context))
    _error_answers(app)
    _own_pages(app, context)
    _no_such_call(app)
    gradio_app.mount(app, context)
    return Guard(app, context.session_ok)


def _own_pages(app: FastAPI, context: RequestContext) -> None:
    @app.get("/metrics", include_in_schema=False)
    @app.get("/healthz", include_in_schema=False)
    @app.get("/readyz", include_in_schema=False)
    def operations(request: Request) -> Response:
        status, content_type, body = context.respond(request.url.path)
        return Response(body, status, media_type=content_type)

    @app.get("/login", include_in_schema=False)
    def login() -> FileResponse:
        return FileResponse(ASSETS / "login" / "login.html")

    @app.get("/api/v1/docs", include_in_schema=False)
    def docs() -> FileResponse:
        return FileResponse(ASSETS / "docs" / "docs.html")

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> FileResponse:
        return FileResponse(ASSETS / "favicon.svg", media_type="image/svg+xml")

    app.mount("/ui", StaticFiles(directory=ASSETS))


def _no_such_call(app: FastAPI) -> None:
    """Requests that no route of the API takes get an error of the API, not one of the screen."""
    before = [*app.routes]

    @app.api_route("/api/v1/{_path:path}", methods=[*_METHODS], include_in_schema=False)
    def nothing(request: Request) -> Response:
        others = [
            method
            for method in _METHODS
            if any(
                route.matches({**request.scope, "method": method})[0] is Match.FULL
                for route in before
            )
        ]
        if not others:
            return problem(404, "no_such_path", "There is no such path: see /api/v1/docs.")
        allowed = ", ".join(others)
        return problem(405, "no_such_method", f"This path takes {allowed}.", {"Allow": allowed})


def _answer(status: int, code: str, _request: Request, error: Exception) -> Response:
    return problem(status, code, str(error))


def _error_answers(app: FastAPI) -> None:
    app.add_exception_handler(BadCursor, partial(_answer, 422, "bad_cursor"))
    app.add_exception_handler(NoWebhook, partial(_answer, 404, "no_such_webhook"))

    @app.exception_handler(ApiError)
    def api_error(_request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    def plain(_request: Request, error: HTTPException) -> Response:
        said = str(error.detail)
        if error.status_code == 400 and error.__cause__ is not None:  # while the body was read
            said = "The body is not valid JSON: send UTF-8, not nested too deeply."
        return problem(error.status_code, f"http_{error.status_code}", said)

    @app.exception_handler(Refused)
    def refused(_request: Request, error: Refused) -> Response:
        status = 404 if error.code in _MISSING else 409 if error.code in _CONFLICTS else 422
        return problem(status, error.code, str(error))

    @app.exception_handler(TooLong)
    def too_long(_request: Request, _error: TooLong) -> Response:
        text = "The search took too long; narrow it or its period."
        return problem(422, "too_much_to_search", text)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        listed = problems_of(error, "request")
        sent_as = request.headers.get("content-type", "")
        if "json" not in sent_as and any(wrong["loc"] == ("body",) for wrong in error.errors()):
            listed = f"send JSON, with the header Content-Type: application/json; {listed}"
        return problem(422, "invalid_request", listed[:1_000])

    @app.exception_handler(Overloaded)
    def unreachable(_request: Request, error: Overloaded) -> Response:
        logger.warning("database unreachable", extra={"problem": str(error)})
        return database_unreachable()
