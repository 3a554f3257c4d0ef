"""A route as the JSON of an event.

Written from values that were checked when the item was read: building the models of the event would
check all of it again, and takes three times as long. The bytes are those that the models write.
"""

import secrets
from datetime import datetime
from functools import lru_cache

from pydantic import JsonValue
from pydantic_core import to_json

from services.router.route import Route
from shared.answers.approval import approved
from shared.answers.base import Action
from shared.events.answered import NO_MODEL, AnswerDecision, AnswerScored
from shared.events.models import Item, Prediction, RouteReason, Sampling

_PLACEHOLDER = secrets.token_hex()  # no label and no version holds it


def event_head(workflow: str, now: datetime) -> bytes:
    """`{"workflow":…,"occurred_at":…`: the same for all items of a batch and workflow."""
    return to_json({"workflow": workflow, "occurred_at": now})[:-1]


def join_event(head: bytes, item: Item, tail: bytes) -> bytes:
    """The whole event."""
    written = type(item).__pydantic_serializer__.to_json(item)
    return b"".join((head, b',"item":', written, tail))


def answer_tail(scored: AnswerScored, chosen: Route, now: datetime) -> bytes:
    """`event_tail` for an answer that is not one label."""
    prediction = scored.prediction
    rest: dict[str, object] = {"kind": scored.kind, "prediction": prediction}
    if chosen.route == "review":
        rest["routing"] = _routing(chosen, now)
    else:
        rest["decision"] = AnswerDecision(
            kind=scored.kind,
            answer=prediction.answer if prediction else _as_asked(scored.item.action),
            decided_by="ai",
            confidence=prediction and prediction.confidence,
            model_version=prediction.model_version if prediction else NO_MODEL,
            policy_version=chosen.policy_version,
            reasons=chosen.reasons,
            decided_at=now,
            threshold=chosen.threshold,
            certificate_version=chosen.certificate_version,
            sampling=Sampling.model_validate(chosen.sampling._asdict()),
            ai_answer=prediction and prediction.answer,
        )
    return b"," + to_json(rest)[1:]


def _as_asked(action: Action | None) -> dict[str, JsonValue]:
    """What is accepted without a prediction: an action, as it stands."""
    if action is None:
        raise ValueError("nothing was predicted, and there is no action that could be approved")
    return approved(action).value


def event_tail(prediction: Prediction, chosen: Route, now: datetime, now_json: bytes) -> bytes:
    """`,"prediction":{…},"decision":{…}}`, or with the `routing` of an item for people."""
    written = Prediction.__pydantic_serializer__.to_json(prediction)
    if chosen.route == "review":
        return b"".join(
            (b',"prediction":', written, b',"routing":', to_json(_routing(chosen, now)), b"}")
        )
    u, q, salt_version, on_panel = chosen.sampling
    numbers = (prediction.confidence, chosen.threshold, u, q)
    confidence, threshold, written_u, written_q = to_json(numbers)[1:-1].split(b",")
    start, to_time, to_threshold, to_u, to_q, rest = _decision(
        prediction.label,
        prediction.model_version,
        chosen.policy_version,
        chosen.reasons,
        chosen.certificate_version,
        salt_version,
        on_panel,
    )
    return b"".join(
        (
            b',"prediction":', written, b',"decision":', start, confidence, to_time, now_json,
            to_threshold, threshold, to_u, written_u, to_q, written_q, rest, b"}",
        )
    )  # fmt: skip


@lru_cache(maxsize=4_096)  # the rest of a decision is the same for many items
def _decision(
    label: str,
    model_version: str,
    policy_version: str,
    reasons: tuple[RouteReason, ...],
    certificate_version: str | None,
    salt_version: str,
    on_panel: bool,
) -> list[bytes]:
    """The fields of `shared.events.models.Decision`, in their order; cut where the numbers and the
    time come in."""
    return to_json(
        {
            "label": label,
            "decided_by": "ai",
            "confidence": _PLACEHOLDER,
            "model_version": model_version,
            "policy_version": policy_version,
            "reasons": reasons,
            "decided_at": _PLACEHOLDER,
            "threshold": _PLACEHOLDER,
            "certificate_version": certificate_version,
            "sampling": {
                "u": _PLACEHOLDER,
                "q": _PLACEHOLDER,
                "salt_version": salt_version,
                "on_panel": on_panel,
            },
            "ai_label": label,
            "reviewer": None,
            "action": None,
        }
    ).split(to_json(_PLACEHOLDER))


def _routing(chosen: Route, now: datetime) -> dict[str, object]:
    """The fields of `shared.events.models.Routing`, in their order."""
    return {
        "reasons": chosen.reasons,
        "policy_version": chosen.policy_version,
        "threshold": chosen.threshold,
        "certificate_version": chosen.certificate_version,
        "sampling": chosen.sampling._asdict(),
        "would_accept": chosen.would_accept,
        "blind": chosen.blind,
        "queue": chosen.queue,
        "priority": chosen.priority,
        "due_at": chosen.due_at,
        "routed_at": now,
    }
