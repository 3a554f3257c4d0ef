"""Does the router say what the policy said, in full, and the same again for a duplicate?"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from services.router.handler import Router
from services.router.policy import Policy
from shared.answers.base import Action
from shared.errors import NotYet, Permanent, Retryable
from shared.events.answered import AnswerAccepted, AnswerItem, AnswerScored
from shared.events.envelope import decode, encode
from shared.events.models import (
    Event,
    Item,
    ItemAccepted,
    ItemReviewRequested,
    ItemScored,
    Prediction,
)
from shared.events.traceparent import trace_id
from shared.messages import Delivery, Outgoing, Result

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


def scored(
    item_id: str = "a", confidence: float = 0.9, text: str = "fine", workflow: str = "sentiment"
) -> ItemScored:
    return ItemScored(
        workflow=workflow,
        occurred_at=NOW,
        item=Item(id=item_id, text=text, metadata={"n": [1, None]}, received_at=NOW),
        prediction=Prediction(
            label="positive",
            confidence=confidence,
            distribution={"positive": confidence, "negative": 1 - confidence},
            model_version="m1",
        ),
    )


def delivered(message: Outgoing) -> Delivery:
    return Delivery(
        queue="hitl.router",
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        headers=message.headers,
        message_id=message.message_id,
        tag=1,
    )


def delivery(event: Event) -> Delivery:
    return delivered(encode(event, source="inference", traceparent=TRACE))


class Desk:
    """A router whose policy and clock a test can change."""

    def __init__(self, threshold: float = 0.85, remembered_items: int = 10) -> None:
        self.now = NOW
        self.use(threshold=threshold)
        self.router = Router(
            lambda workflow: self.policy if workflow == "sentiment" else None,
            salt="salt",
            clock=lambda: self.now,
            remembered_items=remembered_items,
        )

    def use(self, **content: object) -> None:
        self.policy = Policy.from_mapping(content, ("negative", "positive"))

    def send(self, event: Event) -> Outgoing:
        (result,) = self.router.handle([delivery(event)])
        assert not isinstance(result, Permanent | Retryable), result
        (message,) = result
        return message


def test_a_time_without_a_zone_counts_as_utc() -> None:
    # Given a scored item of a foreign program that names no time zone
    event = scored()
    late = event.item.model_copy(update={"received_at": NOW.replace(tzinfo=None)})
    # If the router handles it, I expect it to leave like any other, at the same age
    message = Desk().send(event.model_copy(update={"item": late}))
    assert message.routing_key == "item.accepted.sentiment"


def test_a_sure_item_leaves_as_accepted_with_the_whole_decision() -> None:
    # Given an item that the model is sure of, if the router handles it
    desk, event = Desk(), scored()
    message = desk.send(event)
    # I expect item.accepted, on the producer's trace, with everything downstream may ask
    assert message.routing_key == "item.accepted.sentiment"
    assert trace_id(str(message.headers["traceparent"])) == "ab" * 16
    accepted = decode(delivered(message), ItemAccepted)
    assert (accepted.item, accepted.prediction) == (event.item, event.prediction)
    assert accepted.occurred_at == accepted.decision.decided_at == NOW
    decision = accepted.decision.model_dump(mode="json", exclude={"decided_at", "sampling"})
    assert decision == {
        "label": "positive",
        "decided_by": "ai",
        "confidence": 0.9,
        "model_version": "m1",
        "policy_version": desk.policy.version,
        "reasons": [{"code": "confident", "text": "confidence 0.90 reaches 0.85"}],
        "threshold": 0.85,
        "certificate_version": None,
        "ai_label": "positive",
        "reviewer": None,
        "action": None,
    }
    assert accepted.decision.sampling is not None
    assert (accepted.decision.sampling.q, accepted.decision.sampling.on_panel) == (0.0, False)
    # and the message is what the envelope makes of that event
    assert message.body == accepted.model_dump_json().encode()
    assert message.message_id == str(accepted.event_id)


def test_an_unsure_item_leaves_as_a_request_for_review_with_the_whole_routing() -> None:
    desk = Desk()
    desk.use(
        threshold=0.85,
        rules=[
            {
                "name": "r",
                "when": {"min_characters": 1},
                "then": "review",
                "queue": "desk",
                "priority": 7,
                "due_minutes": 60,
                "reason": "because",
            }
        ],
    )
    message = desk.send(scored(confidence=0.6))
    assert message.routing_key == "item.review_requested.sentiment"
    routing = decode(delivered(message), ItemReviewRequested).routing
    assert [reason.code for reason in routing.reasons] == ["rule", "below_threshold"]
    assert (routing.queue, routing.priority) == ("desk", 7)
    assert routing.due_at == NOW + timedelta(hours=1)
    assert (routing.threshold, routing.policy_version) == (0.85, desk.policy.version)
    assert (routing.would_accept, routing.blind, routing.routed_at) == (False, False, NOW)
    assert routing.sampling is not None


def test_a_duplicate_gets_the_first_decision_whatever_has_changed_since() -> None:
    # Given an item that was accepted
    desk = Desk()
    first = desk.send(scored())
    # If the policy, the time and the model's answer change, and it comes again
    desk.use(threshold=1.0)
    desk.now += timedelta(minutes=1)
    again = desk.send(scored(confidence=0.2))
    # I expect the same event: its id, its decision, its time
    assert again.message_id == first.message_id
    one, other = (decode(delivered(message), ItemAccepted) for message in (first, again))
    assert (one.decision, one.prediction, one.occurred_at) == (
        other.decision,
        other.prediction,
        other.occurred_at,
    )
    # while a new item is routed by the new policy
    assert desk.send(scored("b")).routing_key == "item.review_requested.sentiment"


def test_an_edit_under_the_same_id_does_not_go_out_with_the_decision_on_what_was_before() -> None:
    # Given an item that was accepted, and one that was sent to a person
    desk = Desk()
    for item_id, confidence in (("sure", 0.9), ("unsure", 0.6)):
        event = scored(item_id, confidence)
        event = event.model_copy(
            update={"item": event.item.model_copy(update={"metadata": {"n": [1, None], "a": True}})}
        )
        desk.send(event)

        def changed(event: ItemScored = event, **change: object) -> Result:
            edit = event.model_copy(update={"item": event.item.model_copy(update=change)})
            (result,) = desk.router.handle([delivery(edit)])
            return result

        # If its text comes changed, I expect it to be refused by name
        refused = changed(text="I will find you")
        assert isinstance(refused, Permanent)
        assert refused.reason == "edited"
        assert "new id" in refused.detail
        # If its metadata do, I expect nothing to go out: the decision has, with its own
        for metadata in ({}, {"n": [1, None], "a": 1}, {"n": [1, None], "a": [1]}, {"sent": 2}):
            assert changed(metadata=metadata) == ()
        # while the same metadata in another order are the same item
        (_again,) = changed(metadata={"a": True, "n": [1.0, None]})  # type: ignore[misc]  # a message


def test_a_rule_that_cannot_hold_for_the_kind_of_a_value_is_counted_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given rules on an amount, by number and by text
    desk = Desk()
    desk.use(
        threshold=0.85,
        rules=[
            {"name": "high", "when": {"metadata": {"n": {"gt": 100}}}, "then": "review"},
            {"name": "seven", "when": {"metadata": {"n": "7"}}, "then": "review"},
            {"name": "any", "when": {"metadata": {"n": {"exists": False}}}, "then": "review"},
        ],
    )
    # If items come whose amount is a text, a number, a word, and none
    for value in ("120", 7, "a lot", "a lot more", None):
        event = scored(f"{value}")
        item = event.item.model_copy(update={"metadata": {"n": value}})
        desk.send(event.model_copy(update={"item": item}))
    # I expect it to be counted where no value of that kind can be what the rule names
    counted = {
        rule: REGISTRY.get_sample_value(
            "hitl_rules_incomparable_total", {"workflow": "sentiment", "rule": rule}
        )
        for rule in ("high", "seven", "any")
    }
    assert counted == {"high": 2, "seven": 1, "any": None}
    # and to be in the log once for each rule
    told = [record.rule for record in caplog.records if hasattr(record, "rule")]
    assert sorted(told) == ["high", "seven"]


def test_no_text_and_no_metadata_confuses_what_is_remembered() -> None:
    # Given items that contain what stands between the fields of an event
    between = ',"item":{"prediction":{},"decision":{'
    item = scored().item.model_copy(
        update={
            "text": f'{between},"prediction":{{',
            "metadata": {"n": 1, "prediction": {"item": {}}},
        }
    )
    for confidence in (0.9, 0.2):  # accepted, and asked of a person
        desk, event = Desk(), scored(confidence=confidence).model_copy(update={"item": item})
        first = desk.send(event)
        # If such an item comes again
        again = desk.send(event)
        # I expect the same event, with the item whole
        assert again.body == first.body


def test_a_duplicate_within_one_batch_is_one_decision_and_counted_once() -> None:
    labels = {"workflow": "sentiment", "route": "review", "reason": "below_threshold"}
    before = REGISTRY.get_sample_value("hitl_routes_total", labels) or 0.0
    results = Desk(threshold=1.0).router.handle([delivery(scored("twice"))] * 3)
    bodies = {result[0].body for result in results if not isinstance(result, Permanent | Retryable)}
    assert (len(results), len(bodies)) == (3, 1)
    assert REGISTRY.get_sample_value("hitl_routes_total", labels) == before + 1


def test_the_same_id_in_two_workflows_is_two_items() -> None:
    router = Router(
        lambda workflow: Policy.from_mapping({"threshold": 0.0 if workflow == "a" else 1.0}),
        salt="",
        clock=lambda: NOW,
    )
    results = router.handle([delivery(scored(workflow="a")), delivery(scored(workflow="b"))])
    keys = [
        result[0].routing_key for result in results if not isinstance(result, Permanent | Retryable)
    ]
    assert keys == ["item.accepted.a", "item.review_requested.b"]


def test_the_memory_forgets_the_item_that_was_not_seen_for_longest() -> None:
    # Given a memory of two items, of which the first has come again
    desk = Desk(remembered_items=2)
    desk.send(scored("a"))
    desk.send(scored("b"))
    desk.send(scored("a"))
    # If a third arrives and the policy changes, I expect the first to be known still
    desk.send(scored("c"))
    desk.use(threshold=1.0)
    assert desk.send(scored("a")).routing_key == "item.accepted.sentiment"
    assert desk.send(scored("b")).routing_key == "item.review_requested.sentiment"


def test_an_item_waits_for_a_workflow_whose_policy_is_still_to_come() -> None:
    router = Router(lambda _name: None, salt="", clock=lambda: NOW, has_file="new".__eq__)
    new, gone = router.handle([delivery(scored(workflow="new")), delivery(scored(workflow="x"))])
    assert isinstance(new, NotYet)
    assert isinstance(gone, Permanent)


def test_what_cannot_be_routed_fails_alone() -> None:
    # Given a batch with a foreign event, an unknown workflow, a broken body and a good item
    good = delivery(scored("good"))
    accepted = Desk().send(scored())
    batch = [
        delivered(accepted),
        delivery(scored(workflow="unheard")),
        Delivery("hitl.router", "hitl.events", "item.scored.sentiment", b"{", {}, 1),
        good,
    ]
    # If the router handles it, I expect a reason for each, and the good one routed
    results = Desk().router.handle(batch)
    assert [r.reason for r in results if isinstance(r, Permanent)] == [
        "unknown_type",
        "unknown_workflow",
        "not_json",
    ]
    assert isinstance(results[3], Sequence)


def test_an_action_that_a_rule_approves_is_accepted_as_it_stands() -> None:
    # Given a rule that approves small refunds, and a small refund; nobody predicts anything
    desk = Desk()
    small = {"name": "small", "when": {"argument": {"amount": {"lt": 50}}}, "then": "accept"}
    desk.use(threshold=0.85, rules=[small])
    action = Action(name="refund", arguments={"amount": 30.5, "to": ["Ada"]})
    item = AnswerItem(id="a", text="Refund?", received_at=NOW, action=action)
    asked = AnswerScored(
        workflow="sentiment", occurred_at=NOW, item=item, kind="approval", prediction=None
    )
    # I expect an event that says yes to these arguments, by the rule, and claims no model for it
    accepted = decode(delivered(desk.send(asked)), AnswerAccepted)
    decision = accepted.decision
    assert decision.answer["verdict"] == "approve"
    assert decision.answer["arguments"] == action.arguments
    assert [reason.code for reason in decision.reasons] == ["rule"]
    assert (decision.decided_by, decision.confidence, decision.threshold) == ("ai", None, None)
    assert (decision.model_version, decision.ai_answer) == ("none", None)
    assert accepted.prediction is None
    assert not (decision.sampling and decision.sampling.on_panel)
