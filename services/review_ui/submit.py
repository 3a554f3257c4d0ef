"""How do items come in over HTTP? Published as any producer's, under the same rules."""

import json
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, Field, JsonValue

from shared.clock import Clock
from shared.errors import Permanent
from shared.events import derive_id
from shared.messages import Outgoing
from shared.producing import item_message

MAX_ITEMS = 500
CONFIRM_SECONDS = 10.0

Publish = Callable[[Sequence[Outgoing], float], None]


class AcceptedItem(BaseModel):
    index: int = Field(description="place in the request, from 0")
    id: str = Field(description="yours, or a new one")


class RefusedItem(BaseModel):
    index: int = Field(description="place in the request, from 0")
    code: str = Field(description="schema, not_json, empty_text or too_large")
    message: str


class Submitted(BaseModel):
    """What became of each item. Those accepted lie safe in the broker, not yet decided."""

    accepted: list[AcceptedItem]
    refused: list[RefusedItem]


def submit(
    items: Sequence[Mapping[str, JsonValue]],
    *,
    workflow: str,
    publish: Publish,
    clock: Clock,
    max_body_bytes: int,
    once: tuple[str, str] | None = None,
) -> Submitted:
    """Publishes the items that inference would take, and returns once the broker has them all.

    `once` is who sends and the key of the request: an item without an id has the same one when it
    is sent at the same place in a request of that key again.

    Raises:
        Overloaded: not confirmed in time; some may have arrived, so send all again with their ids.
    """
    accepted: list[AcceptedItem] = []
    refused: list[RefusedItem] = []
    messages: list[Outgoing] = []
    for index, item in enumerate(items):
        body = json.dumps(item)
        new_id = once and str(derive_id("sent once", workflow, *once, str(index), body))
        try:
            message, item_id = item_message(
                body.encode(),
                workflow,
                max_body_bytes=max_body_bytes,
                clock=clock,
                new_id=new_id,
            )
        except Permanent as error:
            refused.append(RefusedItem(index=index, code=error.reason, message=str(error)))
            continue
        accepted.append(AcceptedItem(index=index, id=item_id))
        messages.append(message)
    publish(messages, CONFIRM_SECONDS)
    return Submitted(accepted=accepted, refused=refused)
