"""Can the events of every released version still be read, and do ours still look as promised?

The golden files are what other programs rely on. What they hold must stay: a field that goes, or
means something else, needs a new version of the event. A new type, version or field is written down
by `WRITE_GOLDEN=1 pytest tests/contract`, which only ever adds.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared.events.envelope import decode, encode
from shared.events.models import Event
from shared.events.registry import REGISTRY
from shared.events.traceparent import trace_id
from shared.messages import Delivery
from tests.support.example_events import EXAMPLES

GOLDEN = Path(__file__).parent / "golden"
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


def path_of(kind: str, version: int) -> Path:
    return GOLDEN / f"{kind}.v{version}.json"


def message(event: Event) -> dict[str, Any]:
    """The whole message as JSON. The parent id of the trace is random: only the trace is kept."""
    sent = encode(event, source="contract", traceparent=TRACE)
    return {
        "exchange": sent.exchange,
        "routing_key": sent.routing_key,
        "properties": {
            "content_type": sent.content_type,
            "message_id": sent.message_id,
            "type": sent.type,
            "timestamp": sent.timestamp,
        },
        "headers": {**sent.headers, "traceparent": trace_id(str(sent.headers["traceparent"]))},
        "body": json.loads(sent.body),
    }


@pytest.fixture(scope="module", autouse=True)
def additions_written_on_request() -> None:
    if os.environ.get("WRITE_GOLDEN") != "1":
        return
    GOLDEN.mkdir(exist_ok=True)
    for event in EXAMPLES:
        path = path_of(event.type, event.version)
        if not path.exists() or holds(message(event), golden(path)):
            content = json.dumps(message(event), indent=2, ensure_ascii=False, sort_keys=True)
            path.write_text(content + "\n", encoding="utf-8")


def holds(ours: Any, promised: Any) -> bool:
    """Whether all that was promised is there; more may be."""
    if isinstance(ours, dict) and isinstance(promised, dict):
        return all(key in ours and holds(ours[key], promised[key]) for key in promised)
    return bool(ours == promised)


def golden(path: Path) -> dict[str, Any]:
    assert path.exists(), f"no {path.name}: write it with WRITE_GOLDEN=1 pytest tests/contract"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def delivery(content: dict[str, Any]) -> Delivery:
    return Delivery(
        queue="contract",
        exchange=content["exchange"],
        routing_key=content["routing_key"],
        body=json.dumps(content["body"]).encode(),
        headers=content["headers"],
        message_id=content["properties"]["message_id"],
        tag=1,
    )


@pytest.mark.parametrize(("kind", "version"), sorted(REGISTRY), ids=str)
def test_every_type_and_version_has_a_golden_file(kind: str, version: int) -> None:
    assert golden(path_of(kind, version))


def test_no_released_version_was_dropped() -> None:
    # Given the golden files of all releases, I expect a model for each
    assert {path.name for path in GOLDEN.iterdir()} == {path_of(*key).name for key in REGISTRY}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_what_we_send_is_what_was_promised(event: Event) -> None:
    ours, promised = message(event), golden(path_of(event.type, event.version))
    assert holds(ours, promised), "a field is gone or has changed: other programs rely on it"
    assert ours == promised, "a field is new: write it down with WRITE_GOLDEN=1"


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_what_was_promised_can_be_read(event: Event) -> None:
    found = decode(delivery(golden(path_of(event.type, event.version))), type(event))
    assert found == event


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_an_example_leaves_no_optional_field_empty(event: Event) -> None:
    """A golden file guards only what is in it."""
    allowed = {
        # a machine's decision has no reviewer, and a person gives no confidence
        "item.accepted": {"decision.reviewer", "decision.action"},
        "item.reviewed": {"decision.confidence"},
    }
    empty = {
        path
        for path, value in leaves(event.model_dump(mode="json", exclude={"item"}))
        if value is None
    }
    assert empty == allowed.get(event.type, set())


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [
            leaf
            for key, entry in value.items()
            for leaf in leaves(entry, f"{path}.{key}".strip("."))
        ]
    return [(path, value)]
