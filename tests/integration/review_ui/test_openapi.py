"""Does any request that the OpenAPI document allows, or forbids, make the API fall over?"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from sqlalchemy import Engine

from services.review_ui.auth.tokens import SCOPES
from shared.service.lifecycle import Lifecycle
from tests.support.api_client import make_token
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

EXAMPLES = 25


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    context = make_test_context(
        engine, clock, Lifecycle(), publish=lambda _messages, _seconds: None
    )
    with serving(context, clock) as served:
        yield served


def test_no_request_makes_the_api_fall_over(engine: Engine, served: Served) -> None:
    # Given tasks to work on and a token that opens everything
    take_in(engine, *[requested(f"i{number}", blind=number % 2 == 0) for number in range(20)])
    bearer = {"Authorization": f"Bearer {make_token(served, *SCOPES)}"}
    schema = schemathesis.openapi.from_url(f"{served.url}/api/v1/openapi.json")
    called = 0
    # If each operation gets what its schema allows, and what it does not
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        called += 1

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            answer = case.call(headers=bearer)
            # I expect no 5xx.
            case.validate_response(answer, checks=[not_a_server_error], headers=bearer)

        holds()
    assert called >= 15
