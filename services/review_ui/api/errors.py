"""The API's errors: a status, a code for programs and a text for people."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from services.review_ui.auth.guard import problem


class ApiError(Exception):
    """An error answer: see `security.problem`; `extra` goes into its body, `headers` beside it."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def response(self) -> JSONResponse:
        answer = problem(self.status, self.code, self.message, **self.extra)
        answer.headers.update(self.headers)
        return answer
