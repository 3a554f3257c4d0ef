"""The events of an item on its way: complete, valid ones, for tests that need some."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.errors import Reason
from shared.events.envelope import encode
from shared.events.models import (
    Decision,
    Event,
    Item,
    ItemAccepted,
    ItemFailed,
    ItemReviewed,
    ItemReviewRequested,
    ItemScored,
    Prediction,
    Review,
    RouteReason,
    Routing,
)
from shared.messages import Delivery, Outgoing
from shared.topology import LOG_QUEUE

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
PREDICTION = Prediction(
    label="positive",
    confidence=0.75,
    distribution={"negative": 0.25, "positive": 0.75},
    model_version="test@1",
)
AUTOMATIC = RouteReason(code="threshold", text="0.75 is above 0.7")
UNSURE = RouteReason(code="threshold", text="0.75 is below 0.85")
HUMAN = RouteReason(code="reviewed", text="a person decided")


def at(seconds: float) -> datetime:
    """A time, counted from when the item was sent."""
    return START + timedelta(seconds=seconds)


class Journey:
    """The events of one item. Each method gives the same event every time."""

    def __init__(
        self, item_id: str, *, text: str = "a fine film", workflow: str = "sentiment"
    ) -> None:
        self.workflow = workflow
        self.item = Item(id=item_id, text=text, metadata={"row": 7}, received_at=at(0))

    def failed(self, queue: str, reason: Reason = "retries_exhausted") -> ItemFailed:
        return ItemFailed(
            workflow=self.workflow,
            occurred_at=at(50),
            failed_item_id=self.item.id,
            queue=queue,
            reason=reason,
            detail="it broke",
            text='{"text": "a fi',
        )

    def scored(self, prediction: Prediction = PREDICTION) -> ItemScored:
        return ItemScored(
            workflow=self.workflow, occurred_at=at(1), item=self.item, prediction=prediction
        )

    def accepted(self) -> ItemAccepted:
        return ItemAccepted(
            workflow=self.workflow,
            occurred_at=at(2),
            item=self.item,
            prediction=PREDICTION,
            decision=Decision(
                label="positive",
                decided_by="ai",
                confidence=0.75,
                model_version="test@1",
                policy_version="policy-1",
                reasons=(AUTOMATIC,),
                decided_at=at(2),
            ),
        )

    def review_requested(self) -> ItemReviewRequested:
        return ItemReviewRequested(
            workflow=self.workflow,
            occurred_at=at(2),
            item=self.item,
            prediction=PREDICTION,
            routing=Routing(
                reasons=(UNSURE,),
                policy_version="policy-1",
                threshold=0.85,
                would_accept=False,
                blind=False,
                routed_at=at(2),
            ),
        )

    def reviewed(self, label: str, *, revision: int = 1) -> ItemReviewed:
        return ItemReviewed(
            workflow=self.workflow,
            occurred_at=at(100 + revision),
            item=self.item,
            prediction=PREDICTION,
            decision=Decision(
                label=label,
                decided_by="human",
                confidence=None,
                model_version="test@1",
                policy_version="policy-1",
                reasons=(HUMAN,),
                decided_at=at(100 + revision),
                ai_label="positive",
                reviewer=f"reviewer {revision}",
                action="accepted" if label == "positive" else "corrected",
            ),
            review=Review(
                task_id=UUID(int=1),
                revision=revision,
                assigned_at=at(90),
                seconds=3.0,
                ai_label_shown=True,
                note="a note of the reviewer",
            ),
        )

    def everything(self) -> list[Event]:
        """All that can happen to an item that people decide, failures and changes of mind too."""
        return [
            self.failed("hitl.sentiment.inference"),
            self.failed("hitl.sentiment.inference", "delivery_limit"),
            self.scored(),
            self.failed("hitl.router"),
            self.review_requested(),
            self.failed("hitl.sentiment.review"),
            self.reviewed("negative"),
            self.reviewed("positive", revision=2),
        ]


def delivered(event: Event) -> Delivery:
    """The event as the log's queue brings it."""
    return deliver(encode(event, source="test", traceparent=TRACEPARENT))


def deliver(message: Outgoing, queue: str = LOG_QUEUE) -> Delivery:
    """A message as a queue brings it."""
    return Delivery(
        queue=queue,
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        headers=message.headers,
        tag=1,
        message_id=message.message_id,
        content_type=message.content_type,
        timestamp=message.timestamp,
    )


def submitted(
    item_id: str | None, *, text: str = "a fine film", workflow: str = "sentiment"
) -> Delivery:
    """A producer's message as the log's queue brings it."""
    body = {"text": text, "metadata": {"row": 7}} | ({"id": item_id} if item_id else {})
    return Delivery(
        queue=LOG_QUEUE,
        exchange="hitl.items",
        routing_key=workflow,
        body=json.dumps(body).encode(),
        headers={},
        tag=1,
        timestamp=int(START.timestamp()),
    )
