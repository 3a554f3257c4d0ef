"""REST routes to log in and out, and to see who is calling."""

from fastapi import APIRouter, Request, Response

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import Login, Me, WorkflowInfo, errors
from services.review_ui.auth import accounts
from services.review_ui.auth.accounts import Account
from services.review_ui.auth.sessions import COOKIE


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    def me(account: Account) -> Me:
        return Me(
            name=account.name,
            role=account.role,
            workflows=[
                WorkflowInfo(
                    name=name,
                    answer=each.answer,
                    labels=list(each.labels),
                    schema=each.form_schema,
                    overlap=each.overlap,
                    guideline=each.guideline,
                )
                for name, each in context.workflows.items()
                if account.sees(name)
            ],
            lease_seconds=context.lease_seconds,
            undo_seconds=context.undo_seconds,
        )

    @api.post("/login", tags=["session"], responses=errors(429))
    def login(given: Login, request: Request, response: Response) -> Me:
        """Starts a session: sets the cookie that every other call needs."""
        address = request.client.host if request.client else "unknown"
        wait = context.throttle.begin(given.name, address)
        if wait is not None:
            text = f"Too many failed logins; wait {wait} seconds."
            raise ApiError(429, "too_many_logins", text, {"Retry-After": str(wait)})
        with context.transaction() as session:
            account = context.accounts.verify(session, given.name, given.password)
        if account is None:
            raise ApiError(
                401, "wrong_login", "Name or password is wrong, or the account is disabled."
            )
        context.throttle.succeeded(given.name, address)
        response.set_cookie(
            COOKIE,
            context.sessions.issue(account),
            max_age=context.sessions.seconds,
            path="/",
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return me(account)

    @api.post("/logout", status_code=204, tags=["session"])
    def logout(account: Here, response: Response) -> None:
        """Ends every open session of yours."""
        with context.transaction() as session:
            accounts.end_sessions(session, account.name)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")

    @api.get("/me", tags=["session"])
    def who_am_i(account: Here) -> Me:
        """Who is logged in, their workflows with labels and guidelines."""
        return me(account)

    return api
