"""How is a route stated as the JSON of an event?

Written from plain values that were checked when the item was read: to build the event's models
first checks all of it again and takes twice as long. The bytes are those that the models write.
"""

from datetime import datetime

from pydantic_core import to_json

from services.router.policy import Draw, Route
from shared.events import Item, Prediction


def opening(workflow: str, now: datetime) -> bytes:
    """`{"workflow":…,"occurred_at":…`: the same for all items of a batch and workflow."""
    return to_json({"workflow": workflow, "occurred_at": now})[:-1]


def around(opening: bytes, item: Item, ending: bytes) -> bytes:
    """The whole event."""
    return b"".join((opening, b',"item":', Item.__pydantic_serializer__.to_json(item), ending))


def ending(prediction: Prediction, chosen: Route, now: datetime) -> bytes:
    """`,"prediction":{…},"decision":{…}}`, or with the `routing` of an item for people."""
    if chosen.route == "accept":
        said = {"prediction": prediction, "decision": _decision(prediction, chosen, now)}
    else:
        said = {"prediction": prediction, "routing": _routing(chosen, now)}
    return b"," + to_json(said)[1:]


def _decision(prediction: Prediction, chosen: Route, now: datetime) -> dict[str, object]:
    """The fields of `shared.events.Decision`, in their order."""
    return {
        "label": prediction.label,
        "decided_by": "ai",
        "confidence": prediction.confidence,
        "model_version": prediction.model_version,
        "policy_version": chosen.policy_version,
        "reasons": chosen.reasons,
        "decided_at": now,
        "threshold": chosen.threshold,
        "certificate_version": chosen.certificate_version,
        "sampling": _sampling(chosen.sampling),
        "ai_label": prediction.label,
        "reviewer": None,
        "action": None,
    }


def _routing(chosen: Route, now: datetime) -> dict[str, object]:
    """The fields of `shared.events.Routing`, in their order."""
    return {
        "reasons": chosen.reasons,
        "policy_version": chosen.policy_version,
        "threshold": chosen.threshold,
        "certificate_version": chosen.certificate_version,
        "sampling": _sampling(chosen.sampling),
        "would_accept": chosen.would_accept,
        "blind": chosen.blind,
        "queue": chosen.queue,
        "priority": chosen.priority,
        "due_at": chosen.due_at,
        "routed_at": now,
    }


def _sampling(draw: Draw) -> dict[str, object]:
    """The fields of `shared.events.Sampling`, in their order."""
    u, q, salt_version, on_panel = draw
    return {"u": u, "q": q, "salt_version": salt_version, "on_panel": on_panel}
