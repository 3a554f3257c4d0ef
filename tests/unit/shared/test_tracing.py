"""Does a trace stay one trace, and is what is malformed replaced?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events.traceparent import (
    new_trace,
    next_hop,
    trace_id,
    traceparent_of,
    valid_or_new,
)
from shared.messages import Delivery

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
MALFORMED = [
    "",
    "nonsense",
    TRACE.upper(),
    f"00-{'0' * 32}-{'cd' * 8}-01",  # W3C: all zeros are invalid
    f"00-{'ab' * 16}-{'0' * 16}-01",
    f"ff-{'ab' * 16}-{'cd' * 8}-01",
    TRACE[:-1],
    f" {TRACE}",
]


def delivery(**headers: object) -> Delivery:
    named = {name.replace("__", ":"): value for name, value in headers.items()}
    return Delivery("q", "hitl.items", "sentiment", b"", named, 1)


def test_the_next_hop_keeps_the_trace_and_its_flags_and_has_an_id_of_its_own() -> None:
    hop = next_hop(TRACE[:-2] + "00")
    assert trace_id(hop) == "ab" * 16
    assert hop.endswith("-00")
    assert hop.split("-")[2] != "cd" * 8


@pytest.mark.parametrize(
    "name", ["traceparent", "cloudEvents_traceparent", "cloudEvents__traceparent"]
)
def test_the_producers_trace_is_found_under_each_of_its_names(name: str) -> None:
    assert traceparent_of(delivery(**{name: TRACE})) == TRACE
    assert valid_or_new(TRACE) == TRACE


@pytest.mark.parametrize("given", MALFORMED)
def test_a_malformed_trace_is_replaced_by_a_new_one(given: str) -> None:
    assert trace_id(given) is None
    for made in (valid_or_new(given), next_hop(given)):
        assert trace_id(made) not in (None, "ab" * 16, "0" * 32)


def test_no_trace_starts_one() -> None:
    assert trace_id(None) is None
    assert trace_id(valid_or_new(traceparent_of(delivery()))) is not None
    assert new_trace() != new_trace()


@given(st.text() | st.binary() | st.integers())
def test_whatever_the_header_holds_a_valid_trace_goes_on(value: object) -> None:
    assert trace_id(next_hop(traceparent_of(delivery(traceparent=value)))) is not None
