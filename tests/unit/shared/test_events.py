"""Are facts fixed once stated, and recognised when they come again?"""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.events.models import NAMESPACE, Event, Item, ItemScored, Prediction, derive_id
from shared.events.registry import PUBLISHED, REGISTRY
from tests.support.example_events import EXAMPLES, FAILED, ITEM, NOON, PREDICTION, REVIEWED, SCORED


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_two_facts_share_an_id_only_if_they_are_the_same(one: list[str], other: list[str]) -> None:
    assert (derive_id(*one) == derive_id(*other)) is (one == other)


def test_the_ids_are_the_ones_that_are_already_in_databases() -> None:
    # Given facts that were stated long ago, I expect the ids that they were given then.
    assert [str(event.event_id) for event in EXAMPLES] == [
        "f341a0eb-4f56-539e-8e8c-ef18707db621",
        "db423509-74ce-5631-910a-c2ba471d0769",
        "9c1c2cb2-15cd-5020-82d6-7c4fdf80c2b2",
        "1f48c56a-680e-5422-8f16-aab63d8f786d",
        "461b1dca-2b7e-50ac-8c31-f88c7640446f",
        "588f9cb4-d342-51d9-97fe-9e543ab5bb15",
        "19d82ab2-1aa5-5b09-bcaf-01bbddbabe88",
        "f1710f31-e5dc-547f-99cf-23ec9c6695de",
        "52a5539e-6716-502d-ab52-290b80b54d70",
        "090a60e2-3343-5441-a211-ea153ec6d4ae",
        "ad895df1-f664-5418-bfde-75fe9ce8888f",
    ]
    assert all(event.event_id.version == 5 for event in EXAMPLES)
    assert [event.message_id for event in EXAMPLES] == [str(event.event_id) for event in EXAMPLES]


@given(st.lists(st.text(), max_size=4))
def test_ids_are_those_of_the_standard(parts: list[str]) -> None:
    named = "".join(f"{len(part)}:{part}" for part in parts)
    assert derive_id(*parts) == uuid5(NAMESPACE, named)


def test_the_same_fact_told_again_later_keeps_its_id() -> None:
    again = SCORED.model_copy(update={"occurred_at": NOON + timedelta(days=1)})
    assert again.event_id == SCORED.event_id


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.type)
def test_another_item_or_workflow_is_another_fact(event: Event) -> None:
    elsewhere = event.model_copy(update={"workflow": "topics"})
    changed: dict[str, Any] = {
        "item.failed": {"failed_item_id": "order-19"},
        "item.explained": {"explained_item_id": "order-19"},
        "item.shadow_scored": {"shadow_item_id": "order-19"},
    }.get(event.type, {"item": ITEM.model_copy(update={"id": "order-19"})})
    another = event.model_copy(update=changed)
    assert len({event.event_id, elsewhere.event_id, another.event_id}) == 3


def test_a_reopened_decision_and_another_failure_are_facts_of_their_own() -> None:
    revised = REVIEWED.review.model_copy(update={"revision": 3})
    assert REVIEWED.model_copy(update={"review": revised}).event_id != REVIEWED.event_id
    for change in ({"queue": "hitl.router"}, {"reason": "not_json"}):
        assert FAILED.model_copy(update=change).event_id != FAILED.event_id
    # while the same failure, reached by more attempts, is the same
    assert FAILED.model_copy(update={"attempts": 9}).event_id == FAILED.event_id


def test_the_registry_knows_each_published_type_and_version_once() -> None:
    assert set(REGISTRY.values()) == set(PUBLISHED) == {type(event) for event in EXAMPLES}
    assert len(REGISTRY) == len(PUBLISHED)


def test_a_fact_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SCORED.__setattr__("workflow", "topics")


def test_the_routing_key_names_the_type_and_the_workflow() -> None:
    assert SCORED.routing_key == "item.scored.sentiment"


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": float("nan")},
        {"confidence": 1.01},
        {"confidence": -0.01},
        {"distribution": {"positive": float("inf")}},
        {"distribution": {}},
        {"label": ""},
        {"tokens": -1},
        {"windows": 0},
    ],
)
def test_a_prediction_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Prediction.model_validate({**PREDICTION.model_dump(), **wrong})


@pytest.mark.parametrize(
    "wrong", [{"id": ""}, {"id": "x" * 201}, {"text": ""}, {"id": "\ud800"}, {"received_at": "?"}]
)
def test_an_item_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Item.model_validate({**ITEM.model_dump(), **wrong})


@pytest.mark.parametrize(
    "name", ["", "Sentiment", "a.b", "1st", "-a", "a b", "a\n", "é", "x" * 64, "#", "*"]
)
def test_a_workflow_name_that_a_routing_key_or_queue_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        ItemScored.model_validate({**SCORED.model_dump(), "workflow": name})


def test_fields_of_a_newer_writer_are_ignored() -> None:
    newer = {**SCORED.model_dump(mode="json"), "mood": "new"}
    newer["prediction"]["mood"] = "new"
    assert ItemScored.model_validate(newer) == SCORED


def test_an_event_id_is_a_uuid_of_its_parts() -> None:
    assert derive_id("item.scored", "sentiment", ITEM.id) == SCORED.event_id
    assert isinstance(SCORED.event_id, UUID)
