"""What do spans cost where nobody looks, and what when whoever looks is away?"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hitl.servers.ports import free_ports
from shared.errors import ConfigurationError, Permanent, Retryable
from shared.messages import Delivery, Outgoing
from shared.service.lifecycle import COLLECTORS, spans_of
from shared.service.otel import CLOSE_SECONDS, Spans

ROOT = Path(__file__).parents[3]
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def delivery(traceparent: str | None = TRACEPARENT) -> Delivery:
    return Delivery(
        queue="hitl.router",
        exchange="hitl.events",
        routing_key="item.scored.sentiment",
        body=b"{}",
        headers={} if traceparent is None else {"traceparent": traceparent},
        tag=1,
    )


def test_without_a_collector_nothing_is_imported_and_nothing_made() -> None:
    # Given no variable of OpenTelemetry, or the one that turns all off / I expect no spans,
    assert spans_of("router", {}) is None
    assert spans_of("router", {COLLECTORS[0]: "http://x", "OTEL_SDK_DISABLED": "true"}) is None
    # and a service whose import brings nothing of it.
    program = "import services.router.__main__, sys; sys.exit('shared.service.otel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_collector_without_the_packages_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "shared.service.otel", None)
    with pytest.raises(ConfigurationError, match="install the extra otel"):
        spans_of("router", {COLLECTORS[0]: "http://127.0.0.1:4318"})


class Failing:
    """A handler that fails on what stands alone, and on all that stand together."""

    def handle(self, batch: object) -> list[tuple[Outgoing, ...]]:
        raise Permanent("schema", "no")


def test_a_collector_that_is_away_changes_nothing_and_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a collector's address where nobody listens
    (port,) = free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    spans = Spans("router")
    # If deliveries fail, with a trace, with none and with nonsense
    for given in (TRACEPARENT, None, "00-nonsense"):
        with pytest.raises(Permanent):
            spans.around(Failing()).handle([delivery(given)])
    spans.processed([delivery()], [Retryable("later")], (1, 2))
    # I expect the failure as it was, and an end in time.
    started = time.monotonic()
    spans.close()
    assert time.monotonic() - started < CLOSE_SECONDS + 1
