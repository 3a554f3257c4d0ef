"""One example of every published event, with every field filled in."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.answers.base import Action
from shared.events.answered import (
    AnswerAccepted,
    AnswerDecision,
    AnswerItem,
    AnswerPrediction,
    AnswerReviewed,
    AnswerReviewRequested,
    AnswerScored,
)
from shared.events.models import (
    Decision,
    Event,
    Item,
    ItemAccepted,
    ItemExplained,
    ItemFailed,
    ItemReviewed,
    ItemReviewRequested,
    ItemScored,
    ItemShadowScored,
    Prediction,
    Review,
    RouteReason,
    Routing,
    Sampling,
    WordWeight,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LATER = NOON + timedelta(seconds=41)

ITEM = Item(
    id="order-17/é",
    text='An "unsettling" drama,\nund ein gutes Ende 😀 שלום',
    metadata={"channel": "mail", "tags": ["a", None], "nested": {"n": 1.5, "yes": True}},
    received_at=NOON,
)
PREDICTION = Prediction(
    label="positive",
    confidence=0.75,
    distribution={"negative": 0.25, "positive": 0.75},
    model_version="embedded@0123456789ab",
    tokens=17,
    windows=2,
    truncated=True,
)
SAMPLING = Sampling(u=0.125, q=0.05, salt_version="c0ffee00", on_panel=False)
REASONS = (
    RouteReason(code="not_fully_read", text="the model read only part of the text"),
    RouteReason(code="below_threshold", text="confidence 0.75 is below 0.85"),
)

SCORED = ItemScored(workflow="sentiment", occurred_at=NOON, item=ITEM, prediction=PREDICTION)
ACCEPTED = ItemAccepted(
    workflow="sentiment",
    occurred_at=NOON,
    item=ITEM,
    prediction=PREDICTION,
    decision=Decision(
        label="positive",
        decided_by="ai",
        confidence=0.75,
        model_version="embedded@0123456789ab",
        policy_version="150c3f3d1179",
        reasons=(RouteReason(code="confident", text="confidence 0.75 reaches 0.70"),),
        decided_at=NOON,
        threshold=0.7,
        certificate_version="cert-3",
        sampling=SAMPLING,
        ai_label="positive",
    ),
)
REVIEW_REQUESTED = ItemReviewRequested(
    workflow="sentiment",
    occurred_at=NOON,
    item=ITEM,
    prediction=PREDICTION,
    routing=Routing(
        reasons=REASONS,
        policy_version="150c3f3d1179",
        threshold=0.85,
        certificate_version="cert-3",
        sampling=SAMPLING,
        would_accept=False,
        blind=False,
        queue="support",
        priority=7,
        due_at=LATER,
        routed_at=NOON,
    ),
)
REVIEWED = ItemReviewed(
    workflow="sentiment",
    occurred_at=LATER,
    item=ITEM,
    prediction=PREDICTION,
    decision=Decision(
        label="negative",
        decided_by="human",
        confidence=None,
        model_version="embedded@0123456789ab",
        policy_version="150c3f3d1179",
        reasons=REASONS,
        decided_at=LATER,
        threshold=0.85,
        certificate_version="cert-3",
        sampling=SAMPLING,
        ai_label="positive",
        reviewer="grace",
        action="corrected",
    ),
    review=Review(
        task_id=UUID("11111111-2222-3333-4444-555555555555"),
        revision=2,
        assigned_at=NOON,
        seconds=40.5,
        idle_seconds=61.5,
        ai_label_shown=True,
        note="the ending decides",
        round="second",
    ),
)
FAILED = ItemFailed(
    workflow="sentiment",
    occurred_at=LATER,
    failed_item_id="order-18",
    queue="hitl.sentiment.inference",
    reason="schema",
    detail="text: Input should be a valid string",
    text='{"id": "order-18", "text": 5}',
    attempts=4,
)
EXPLAINED = ItemExplained(
    workflow="sentiment",
    occurred_at=LATER,
    explained_item_id="order-17/é",
    label="positive",
    model_version="embedded@0123456789ab",
    words=(
        WordWeight(start=0, end=2, weight=0.015625),
        WordWeight(start=4, end=14, weight=-1.25),
    ),
)
SHADOW_SCORED = ItemShadowScored(
    workflow="sentiment",
    occurred_at=LATER,
    shadow_item_id="order-17/é",
    prediction=PREDICTION.model_copy(update={"model_version": "v2@ba9876543210"}),
    live_label="negative",
    live_confidence=0.625,
    live_model_version="embedded@0123456789ab",
)
ANSWER_ITEM = AnswerItem(
    **ITEM.model_dump(exclude={"metadata"}),
    metadata=ITEM.metadata,
    draft="A draft.",
    candidates=("one", "another"),
    action=Action(name="refund", arguments={"amount": 12.5}),
    expires_at=LATER,
)
ANSWER_PREDICTION = AnswerPrediction(
    kind="labels",
    answer={"labels": ["toxic", "insult"]},
    confidence=0.75,
    parts={"toxic": 0.9375, "insult": 0.75, "threat": 0.0625},
    model_version="moderation@0123456789ab",
    tokens=17,
    windows=2,
    truncated=True,
)
ANSWER_SCORED = AnswerScored(
    workflow="moderation",
    occurred_at=NOON,
    item=ANSWER_ITEM,
    kind="labels",
    prediction=ANSWER_PREDICTION,
)
ANSWER_ACCEPTED = AnswerAccepted(
    workflow="moderation",
    occurred_at=NOON,
    item=ANSWER_ITEM,
    kind="labels",
    prediction=ANSWER_PREDICTION,
    decision=AnswerDecision(
        kind="labels",
        answer={"labels": ["toxic", "insult"]},
        decided_by="ai",
        confidence=0.75,
        model_version="moderation@0123456789ab",
        policy_version="150c3f3d1179",
        reasons=(RouteReason(code="confident", text="confidence 0.75 reaches 0.70"),),
        decided_at=NOON,
        threshold=0.7,
        certificate_version="cert-3",
        sampling=SAMPLING,
        ai_answer={"labels": ["toxic", "insult"]},
    ),
)
ANSWER_REVIEW_REQUESTED = AnswerReviewRequested(
    workflow="moderation",
    occurred_at=NOON,
    item=ANSWER_ITEM,
    kind="labels",
    prediction=ANSWER_PREDICTION,
    routing=REVIEW_REQUESTED.routing,
)
ANSWER_REVIEWED = AnswerReviewed(
    workflow="moderation",
    occurred_at=LATER,
    item=ANSWER_ITEM,
    kind="labels",
    prediction=ANSWER_PREDICTION,
    decision=AnswerDecision(
        kind="labels",
        answer={"labels": ["threat"]},
        decided_by="human",
        confidence=None,
        model_version="moderation@0123456789ab",
        policy_version="150c3f3d1179",
        reasons=REASONS,
        decided_at=LATER,
        threshold=0.85,
        certificate_version="cert-3",
        sampling=SAMPLING,
        ai_answer={"labels": ["toxic", "insult"]},
        reviewer="grace",
        action="corrected",
    ),
    review=REVIEWED.review,
)
EXAMPLES: tuple[Event, ...] = (
    SCORED,
    ACCEPTED,
    REVIEW_REQUESTED,
    REVIEWED,
    EXPLAINED,
    SHADOW_SCORED,
    FAILED,
    ANSWER_SCORED,
    ANSWER_ACCEPTED,
    ANSWER_REVIEW_REQUESTED,
    ANSWER_REVIEWED,
)
