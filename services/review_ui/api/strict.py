"""Refuses a request that says something which would be passed over in silence.

An answer to another question than was asked looks like a right one: a misspelt `reviewer=` would
export everybody's decisions. What FastAPI leaves alone is refused here.
"""

from collections import Counter

from fastapi import Request
from fastapi.routing import APIRoute

from services.review_ui.api.errors import ApiError
from shared.formats.strict_json import Unclear, refuse_unclear
from shared.suggestions import did_you_mean


async def nothing_unread(request: Request) -> None:
    """A parameter that the call does not have, one given twice, or an object in the body with two
    values for one name."""
    route = request.scope["route"]
    assert isinstance(route, APIRoute)  # noqa: S101 (nothing else has dependencies)
    known = [one.alias for one in route.dependant.query_params]
    times = Counter(name for name, _value in request.query_params.multi_items())
    for name, count in times.items():
        if name not in known:
            what = f"query.{name[:100]}: no such parameter{did_you_mean(name[:100], known)}"
            raise ApiError(422, "invalid_request", what)
        if count > 1:
            raise ApiError(422, "invalid_request", f"query.{name}: given {count} times, not once")
    try:
        refuse_unclear(await request.body())
    except Unclear as error:
        raise ApiError(422, "invalid_request", f"body: {error}") from None
