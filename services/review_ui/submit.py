"""How do items come in over HTTP? Published as any producer's, under the same rules."""

import json
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, Field, JsonValue

from shared.clock import Clock
from shared.errors import Permanent
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
) -> Submitted:
    """Publishes the items that inference would take, and returns once the broker has them all.

    Raises:
        Overloaded: not confirmed in time; some may have arrived, so send all again with their ids.
    """
    accepted: list[AcceptedItem] = []
    refused: list[RefusedItem] = []
    messages: list[Outgoing] = []
    for index, item in enumerate(items):
        body = json.dumps(item).encode()
        try:
            message, item_id = item_message(
                body, workflow, max_body_bytes=max_body_bytes, clock=clock
            )
        except Permanent as error:
            refused.append(RefusedItem(index=index, code=error.reason, message=str(error)))
            continue
        accepted.append(AcceptedItem(index=index, id=item_id))
        messages.append(message)
    publish(messages, CONFIRM_SECONDS)
    return Submitted(accepted=accepted, refused=refused)
