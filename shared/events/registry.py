"""Which events are published, by type and version."""

from shared.events.answered import (
    AnswerAccepted,
    AnswerReviewed,
    AnswerReviewRequested,
    AnswerScored,
)
from shared.events.models import (
    Event,
    ItemAccepted,
    ItemExplained,
    ItemFailed,
    ItemReviewed,
    ItemReviewRequested,
    ItemScored,
    ItemShadowScored,
)

PUBLISHED: tuple[type[Event], ...] = (
    ItemScored,
    ItemAccepted,
    ItemReviewRequested,
    ItemReviewed,
    ItemExplained,
    ItemShadowScored,
    ItemFailed,
    AnswerScored,
    AnswerAccepted,
    AnswerReviewRequested,
    AnswerReviewed,
)
REGISTRY: dict[tuple[str, int], type[Event]] = {
    (model.type, model.version): model for model in PUBLISHED
}
