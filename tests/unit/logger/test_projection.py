"""Do an item's events, in whatever order and portions they come, add up to the same row?"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.logger.projection import (
    ANSWER_COLUMNS,
    KNOWN_COLUMNS,
    STATUS_COLUMNS,
    ItemFacts,
    facts,
    fold,
    merge,
)
from shared.answers.base import Kind
from shared.answers.reading import parsed
from shared.events.models import Event, ItemSubmitted
from shared.storage.tables import ItemRow
from tests.support.answer_events import KINDS, AnswerJourney
from tests.support.item_events import AUTOMATIC, HUMAN, TRACE, UNSURE, Journey, at

INFERENCE, ROUTER, REVIEW = "hitl.sentiment.inference", "hitl.router", "hitl.sentiment.review"
A = Journey("a")
# Of a label and of every other kind, and with nothing predicted.
JOURNEYS: list[Journey] = [
    A,
    *(AnswerJourney("a", kind) for kind in KINDS),
    AnswerJourney("a", "text", predicted=False),
]


def row(*events: Event) -> ItemFacts:
    """The one row that these events give in this order."""
    (only,) = fold((event, TRACE) for event in events)
    return only


@settings(deadline=None)
@given(st.sampled_from(JOURNEYS), st.data())
def test_the_order_and_the_portions_do_not_show(journey: Journey, data: st.DataObject) -> None:
    # Given all that can happen to an item, in any order, in portions of any size
    events: Sequence[Event] = data.draw(st.permutations(journey.everything()))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1))))
    portions = [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    # If each portion becomes a row and the rows are merged, from the left or from the right
    merged = reduce(merge, [row(*portion) for portion in portions])
    again = reduce(
        lambda right, left: merge(left, right), [row(*portion) for portion in reversed(portions)]
    )
    # I expect the row of the events in their natural order.
    assert merged == again == row(*journey.everything())


@settings(deadline=None)
@given(st.sampled_from(JOURNEYS), st.data())
def test_an_event_that_comes_again_changes_nothing(journey: Journey, data: st.DataObject) -> None:
    some = st.lists(st.sampled_from(journey.everything()), min_size=1, max_size=12)
    events = data.draw(some)
    assert row(*events, *events) == row(*events)


@pytest.mark.parametrize("kind", KINDS)
def test_an_item_of_another_kind_keeps_what_was_asked_predicted_and_answered(kind: Kind) -> None:
    journey = AnswerJourney("a", kind)
    said = journey.said
    found = row(journey.scored(), journey.review_requested(), journey.answered(said.other))
    assert (found.status, found.kind) == ("HUMAN_CORRECTED", kind)
    assert (found.ai_answer, found.answer) == (said.predicted, said.other)
    assert found.asked is not None
    assert found.asked.keys() == {"expires_at", *said.asked}
    assert found.ai_label == parsed(kind, said.predicted).brief
    assert found.final_label == parsed(kind, said.other).brief
    # Reopened, and decided as it was predicted
    again = merge(found, row(journey.answered(said.predicted, revision=2)))
    assert (again.status, again.answer) == ("HUMAN_ACCEPTED", said.predicted)
    # A failure on the way takes the answer of nobody
    assert row(journey.accepted(), journey.failed("hitl.router")).answer == said.predicted


def test_an_item_without_a_prediction_is_corrected_by_any_answer() -> None:
    journey = AnswerJourney("a", "text", predicted=False)
    found = row(journey.review_requested(), journey.answered(journey.said.predicted))
    assert (found.status, found.ai_label, found.ai_answer) == ("HUMAN_CORRECTED", None, None)


def test_an_item_that_was_accepted_never_waits_for_a_person_again() -> None:
    # Given an id that came twice and was routed otherwise the second time: the intake makes no task
    # for what is accepted. If its row said that it waits for a person, nobody would ever come.
    for order in permutations([A.scored(), A.accepted(), A.review_requested()]):
        assert row(*order).status == "AI_ACCEPTED"
    # What a person decides outranks it all the same
    assert row(A.accepted(), A.reviewed("negative")).status == "HUMAN_CORRECTED"


def test_an_item_that_the_machine_accepts() -> None:
    assert row(A.scored(), A.accepted()) == ItemFacts(
        workflow="sentiment",
        id="a",
        status="AI_ACCEPTED",
        progress=21,
        status_at=at(2),
        final_label="positive",
        text="a fine film",
        metadata={"row": 7},
        ai_label="positive",
        confidence=0.75,
        distribution={"negative": 0.25, "positive": 0.75},
        model_version="test@1",
        policy_version="policy-1",
        reasons=[{"code": AUTOMATIC.code, "text": AUTOMATIC.text}],
        trace_id=TRACE,
        received_at=at(0),
        scored_at=at(1),
        routed_at=at(2),
    )


def test_an_item_that_a_person_corrects() -> None:
    assert row(A.scored(), A.review_requested(), A.reviewed("negative")) == ItemFacts(
        workflow="sentiment",
        id="a",
        status="HUMAN_CORRECTED",
        progress=30,
        status_at=at(101),
        final_label="negative",
        reviewer="reviewer 1",
        reviewed_at=at(101),
        text="a fine film",
        metadata={"row": 7},
        ai_label="positive",
        confidence=0.75,
        distribution={"negative": 0.25, "positive": 0.75},
        model_version="test@1",
        policy_version="policy-1",
        reasons=[{"code": HUMAN.code, "text": HUMAN.text}],
        trace_id=TRACE,
        received_at=at(0),
        scored_at=at(1),
        routed_at=at(2),
    )


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([A.failed(INFERENCE)], "FAILED"),
        ([A.failed("hitl.unroutable", "unknown_workflow")], "FAILED"),
        ([A.scored()], "SCORED"),
        ([A.scored(), A.failed(INFERENCE)], "SCORED"),
        ([A.scored(), A.failed("hitl.log")], "SCORED"),
        ([A.scored(), A.failed(ROUTER)], "FAILED"),
        ([A.accepted(), A.failed(ROUTER)], "AI_ACCEPTED"),
        ([A.review_requested(), A.failed(ROUTER)], "HUMAN_REVIEW"),
        ([A.review_requested(), A.failed(REVIEW)], "FAILED"),
        ([A.failed(REVIEW), A.reviewed("positive")], "HUMAN_ACCEPTED"),
        ([A.accepted(), A.reviewed("positive")], "HUMAN_ACCEPTED"),
        ([A.reviewed("negative"), A.accepted()], "HUMAN_CORRECTED"),
        ([A.reviewed("negative"), A.reviewed("positive", revision=2)], "HUMAN_ACCEPTED"),
    ],
)
def test_the_event_that_went_furthest_says_the_status(events: list[Event], status: str) -> None:
    for order in permutations(events):
        assert row(*order).status == status


def test_a_failure_names_its_place_only_while_it_holds() -> None:
    # Given an item that failed at the router
    failed = row(A.scored(), A.failed(ROUTER))
    assert failed.failure == "retries_exhausted at hitl.router: it broke"
    assert (failed.final_label, failed.reviewer) == (None, None)
    # If it is sent again and gets through, I expect no failure to be left.
    assert merge(failed, row(A.review_requested())).failure is None


def test_what_is_set_aside_as_an_edit_takes_nothing_from_the_item_that_is_known() -> None:
    # Given an item that waits for a person, and one that a person decided
    journey = Journey("a")
    waiting = [journey.scored(), journey.review_requested()]
    # If a producer sends its id again with another time of sending, and both who see it say so
    edits = [journey.failed(queue, "edited") for queue in ("hitl.router", "hitl.log")]
    for known, status in (
        (waiting, "HUMAN_REVIEW"),
        ([*waiting, journey.reviewed("negative")], "HUMAN_CORRECTED"),
    ):
        (row,) = fold([(event, TRACE) for event in [*known, *edits]])
        # I expect it to wait, or to be decided, as before
        assert (row.status, row.failure) == (status, None)
        assert row.text == journey.item.text


def test_a_failure_keeps_what_was_known() -> None:
    # Given an item that got as far as the review's intake and failed there
    failed = row(A.scored(), A.review_requested(), A.failed(REVIEW))
    # I expect the prediction, the route and the text to be there still.
    assert failed.ai_label == "positive"
    assert failed.reasons == [{"code": UNSURE.code, "text": UNSURE.text}]
    assert failed.text == "a fine film"


def test_the_excerpt_of_a_failure_gives_way_to_any_whole_text() -> None:
    # Given a failure at the last stage, whose message could not be read
    failed = A.failed(REVIEW)
    assert row(failed).text == '{"text": "a fi'
    # If an event of a lower rank brings the whole text, before or after,
    for order in permutations([failed, A.failed(INFERENCE), A.scored()]):
        # I expect the whole text.
        assert row(*order).text == "a fine film"
        assert row(*order).metadata == {"row": 7}


def test_items_are_told_apart_by_workflow_and_id() -> None:
    # Given two items of one workflow and the same id in another
    events = [Journey("b").scored(), A.scored(), Journey("b", workflow="spam").scored()]
    # I expect three rows.
    keys = {(item.workflow, item.id) for item in fold((event, None) for event in events)}
    assert keys == {("sentiment", "a"), ("sentiment", "b"), ("spam", "b")}


def test_a_submission_alone_is_no_row() -> None:
    submitted = ItemSubmitted(workflow="sentiment", occurred_at=at(0), item=A.item)
    assert facts(submitted, TRACE) is None
    assert fold([(submitted, TRACE)]) == []


def test_a_time_without_a_zone_is_utc_and_the_earliest_reception_counts() -> None:
    # Given two events of a foreign program, one with naive times
    naive = A.item.model_copy(update={"received_at": datetime(2024, 5, 1, 11, 0)})
    early = A.scored().model_copy(update={"item": naive, "occurred_at": datetime(2024, 5, 1, 11)})
    # I expect them to be compared as UTC.
    for order in permutations([early, A.accepted()]):
        assert row(*order).received_at == datetime(2024, 5, 1, 11, 0, tzinfo=UTC)
        assert row(*order).scored_at == datetime(2024, 5, 1, 11, 0, tzinfo=UTC)


def test_every_column_of_the_table_is_merged_by_exactly_one_rule() -> None:
    columns = {column.name for column in ItemRow.__table__.columns}
    own_rules = {"workflow", "id", "text", "metadata", "received_at"}
    stores_own = {"updated_at", "text_salts", "erased_at"}
    assert columns == {*STATUS_COLUMNS, *KNOWN_COLUMNS, *ANSWER_COLUMNS} | own_rules | stores_own
    assert {field.name for field in fields(ItemFacts)} == columns - stores_own
