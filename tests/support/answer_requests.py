"""Requests for review of every kind of answer, and the workflows that ask for them."""

from typing import Any, get_args

from shared.answers.base import Kind
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerReviewRequested
from shared.events.models import RouteReason, Routing, Sampling
from shared.workflows.files import Workflow
from tests.support.review_service import START

INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "supplier": {"type": "string", "minLength": 1},
        "total": {"type": "number", "minimum": 0, "title": "Total with tax"},
        "currency": {"enum": ["EUR", "USD", "GBP"]},
        "paid": {"type": "boolean"},
        "due": {"type": "string", "format": "date"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"what": {"type": "string"}, "amount": {"type": "number"}},
                "required": ["what", "amount"],
            },
        },
    },
    "required": ["supplier", "total", "currency"],
    "additionalProperties": False,
}
_MORE: dict[Kind, dict[str, Any]] = {
    "labels": {"labels": ("toxic", "insult", "threat")},
    "spans": {"labels": ("PER", "ORG", "LOC", "MISC")},
    "form": {"schema": INVOICE},
}

_REASONS = {
    "panel": "drawn at random for the audit panel",
    "below_threshold": "confidence {:.2f} is below 0.90",
    "no_prediction": "nobody predicted an answer",
}


def workflow_of(kind: Kind, **more: Any) -> Workflow:
    """A workflow, named like the kind of its answers; `more`: other keys of its file."""
    asks: dict[str, Any] = {"name": kind, "answer": kind, "model": "none"}
    return Workflow(**asks | _MORE.get(kind, {}) | more)


def workflows_of_all_kinds() -> dict[str, Workflow]:
    """One workflow of each kind but label."""
    return {kind: workflow_of(kind) for kind in get_args(Kind) if kind != "label"}


def asks(
    kind: Kind,
    item_id: str,
    predicted: dict[str, Any] | None,
    *,
    text: str = "Peter of ACME owes 120 euros.",
    confidence: float = 0.6,
    parts: Any = None,
    blind: bool = False,
    **item: Any,
) -> AnswerReviewRequested:
    """A request for review, as the router would send it; `item`: what else the item carries."""
    code = "panel" if blind else "below_threshold" if predicted else "no_prediction"
    return AnswerReviewRequested(
        workflow=kind,
        occurred_at=START,
        kind=kind,
        item=AnswerItem(id=item_id, text=text, received_at=START, **item),
        prediction=predicted
        and AnswerPrediction(
            kind=kind,
            answer=predicted,
            confidence=confidence,
            parts=parts,
            model_version="theirs@1",
        ),
        routing=Routing(
            reasons=(RouteReason(code=code, text=_REASONS[code].format(confidence)),),
            policy_version="policy-1",
            threshold=0.9,
            sampling=Sampling(u=0.01, q=0.05, salt_version="s1", on_panel=blind),
            would_accept=blind,
            blind=blind,
            queue="default",
            priority=0,
            routed_at=START,
        ),
    )
