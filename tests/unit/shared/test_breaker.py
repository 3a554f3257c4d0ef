"""Does consuming pause when we are wrong, and go on when a sender is?"""

from shared.errors import Permanent
from shared.messages import Delivery
from shared.messaging.breaker import Breaker


def delivery(exchange: str = "hitl.events") -> Delivery:
    return Delivery("hitl.router", exchange, "k", b"", {}, tag=1)


OURS = Permanent("unscorable", "the model fails")
SENDERS = Permanent("schema", "text: missing")


def test_it_opens_after_enough_failures_in_a_row_and_closes_after_the_pause() -> None:
    breaker = Breaker(failures=3, pause_seconds=30)
    for _ in range(2):
        breaker.failed(delivery(), OURS)
    assert breaker.due(now=0) is None
    breaker.failed(delivery(), OURS)
    assert breaker.due(now=0) == "open"
    assert breaker.due(now=0) is None, "told once"
    assert "unscorable" in (breaker.problem() or "")
    assert breaker.due(now=float("inf")) == "close"
    assert breaker.problem() is None


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker(failures=2, pause_seconds=30)
    breaker.failed(delivery(), OURS)
    breaker.succeeded()
    breaker.failed(delivery(), OURS)
    assert breaker.due(now=0) is None


def test_after_the_pause_one_more_failure_is_enough() -> None:
    breaker = Breaker(failures=3, pause_seconds=0)
    for _ in range(3):
        breaker.failed(delivery(), OURS)
    assert breaker.due(now=0) == "open"
    assert breaker.due(now=float("inf")) == "close"
    breaker.failed(delivery(), OURS)
    assert breaker.due(now=0) == "open"


def test_a_producer_that_sends_garbage_does_not_stop_the_others() -> None:
    breaker = Breaker(failures=3, pause_seconds=30)
    for _ in range(100):
        breaker.failed(delivery("hitl.items"), SENDERS)
    assert breaker.due(now=0) is None
    # Nor does one that sends known ids again, each time with another time of sending
    for _ in range(100):
        breaker.failed(delivery(), Permanent("edited", "another content"))
    assert breaker.due(now=0) is None
    for _ in range(3):
        breaker.failed(delivery("hitl.events"), SENDERS)
    assert breaker.due(now=0) == "open", "events that we cannot read are our own version skew"
