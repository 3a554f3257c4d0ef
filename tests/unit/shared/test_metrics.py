"""Is what is observed in one go what would have been observed one by one?"""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from shared.service.metrics import observe_all


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 1.0, 7.5]) | st.floats(0, 10), max_size=30))
def test_many_at_once_are_counted_as_one_after_the_other(amounts: list[float]) -> None:
    both = []
    for at_once in (True, False):
        registry = CollectorRegistry()
        histogram = Histogram("age", "Age.", ["stage"], buckets=(0.1, 1, 5), registry=registry)
        if at_once:
            observe_all(histogram.labels("routed"), amounts)
        else:
            for amount in amounts:
                histogram.labels("routed").observe(amount)
        histogram.labels("routed").observe(0.5)
        lines = generate_latest(registry).decode().splitlines()
        both.append([line for line in lines if "_created" not in line and "_sum" not in line])
    assert both[0] == both[1]
