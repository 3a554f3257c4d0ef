"""A client of the API for programs: an HTTP client that sends a new token."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import httpx

from services.review_ui.auth import tokens
from tests.support.review_service import Served


def make_token(
    served: Served, *scopes: str, name: str = "program", lifetime: timedelta | None = None
) -> str:
    """A new token of these scopes."""
    with served.context.transaction() as session:
        return tokens.create(session, name, scopes, now=served.clock(), lifetime=lifetime)


@contextmanager
def program(served: Served, *scopes: str, name: str = "program") -> Iterator[httpx.Client]:
    """A client that sends a new token of these scopes with every request."""
    bearer = {"Authorization": f"Bearer {make_token(served, *scopes, name=name)}"}
    with httpx.Client(base_url=f"{served.url}/api/v1", headers=bearer, timeout=30) as client:
        yield client


def code_of(answer: httpx.Response) -> str:
    """The error's code."""
    return str(answer.json()["error"]["code"])
