"""Does docs/build/asyncapi.yaml say what the code does?"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hitl.commands.asyncapi import document, render
from shared.events.registry import REGISTRY

WRITTEN = Path(__file__).parents[2] / "docs" / "build" / "asyncapi.yaml"


def test_the_description_is_current() -> None:
    # Given the file, I expect it to be what `hitl asyncapi > docs/build/asyncapi.yaml` writes
    assert WRITTEN.read_text(encoding="utf-8") == render()


def test_every_event_has_a_message_a_channel_and_an_operation() -> None:
    described: dict[str, Any] = yaml.safe_load(WRITTEN.read_text(encoding="utf-8"))
    for (kind, version), model in REGISTRY.items():
        message = described["components"]["messages"][model.__name__]
        headers = message["headers"]["properties"]
        assert headers["cloudEvents_type"]["const"] == kind
        assert headers["cloudEvents_schemaversion"]["const"] == str(version)
        channel = described["channels"][kind.replace(".", "_")]
        assert channel["address"] == f"{kind}.{{workflow}}"
        assert channel["bindings"]["amqp"]["exchange"]["name"] == "hitl.events"
        assert described["operations"][f"publish{model.__name__}"]["action"] == "send"


def test_every_reference_leads_somewhere() -> None:
    described = document()

    def follow(reference: str) -> Any:
        found: Any = described
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        return found

    for reference in references(described):
        assert follow(reference) is not None


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for entry in value.values() for found in references(entry)]
    if isinstance(value, list):
        return [found for entry in value for found in references(entry)]
    return []


@pytest.mark.parametrize("field", ["text", "id", "metadata"])
def test_a_producer_finds_the_fields_of_an_item(field: str) -> None:
    submission = document()["components"]["schemas"]["Submission"]
    assert field in submission["properties"]
    assert submission["required"] == ["text"]
