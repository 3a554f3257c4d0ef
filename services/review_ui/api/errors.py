"""The API's errors: a status, a code for programs and a text for people."""

from collections.abc import Mapping

from fastapi.responses import JSONResponse

from services.review_ui.auth.guard import problem


class ApiError(Exception):
    """An error answer: see `guard.problem`."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def response(self) -> JSONResponse:
        return problem(self.status, self.code, str(self), self.headers)
