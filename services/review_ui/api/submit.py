"""Publishes items that come in over HTTP as any producer's, under the same rules."""

import json
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, Field, JsonValue
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.answers.base import AnswerSpec
from shared.clock import Clock
from shared.errors import Permanent
from shared.events.item_message import item_message
from shared.events.models import Item, derive_id
from shared.messages import Outgoing
from shared.storage.edits import EDITED, as_sent

MAX_ITEMS = 500
CONFIRM_SECONDS = 10.0

_EDITED = "this id is already used for another text: send the new version under a new id"

Publish = Callable[[Sequence[Outgoing], float], None]
Edited = Callable[[Sequence[tuple[str, Item]]], set[int]]


class AcceptedItem(BaseModel):
    index: int = Field(description="place in the request, from 0")
    id: str = Field(description="yours, or a new one")


class RefusedItem(BaseModel):
    index: int = Field(description="place in the request, from 0")
    code: str = Field(description="schema, not_json, empty_text, too_large or edited")
    message: str


class Submitted(BaseModel):
    """What became of each item. Those accepted lie safe in the broker, not yet decided."""

    accepted: list[AcceptedItem]
    refused: list[RefusedItem]


def submit(
    items: Sequence[Mapping[str, JsonValue]],
    *,
    workflow: str,
    spec: AnswerSpec,
    edited: Edited,
    publish: Publish,
    clock: Clock,
    max_body_bytes: int,
    once: tuple[str, str] | None = None,
) -> Submitted:
    """Publishes the items that inference would take and that are no edits of others, and returns
    once the broker has them all. Those sent a moment ago may not be recorded yet: of their edits
    the router and the record say what they are.

    `once` is who sends and the key of the request: an item without an id has the same one when it
    is sent at the same place in a request of that key again.

    Raises:
        Overloaded: not confirmed in time; some may have arrived, so send all again with their ids.
    """
    accepted: list[AcceptedItem] = []
    refused: list[RefusedItem] = []
    ready: list[tuple[int, Item, Outgoing]] = []
    texts: dict[str, int] = {}
    for index, item in enumerate(items):
        body = json.dumps(item)
        new_id = once and str(derive_id("sent once", workflow, *once, str(index), body))
        try:
            message, read = item_message(
                body.encode(),
                workflow,
                max_body_bytes=max_body_bytes,
                clock=clock,
                new_id=new_id,
                spec=spec,
            )
            said = read.content.text
            if texts.setdefault(read.id, said) != said:
                raise Permanent("edited", _EDITED)
        except Permanent as error:
            refused.append(RefusedItem(index=index, code=error.reason, message=str(error)))
            continue
        ready.append((index, read, message))
    known = edited([(workflow, read) for _, read, _ in ready])
    messages: list[Outgoing] = []
    for place, (index, read, message) in enumerate(ready):
        if place in known:
            why = str(Permanent("edited", _EDITED))
            refused.append(RefusedItem(index=index, code="edited", message=why))
        else:
            accepted.append(AcceptedItem(index=index, id=read.id))
            messages.append(message)
    publish(messages, CONFIRM_SECONDS)
    return Submitted(accepted=accepted, refused=sorted(refused, key=lambda each: each.index))


def edits(session: Session, items: Sequence[tuple[str, Item]]) -> set[int]:
    """Which of these items, by place, are recorded with another text."""
    if not items:
        return set()
    found = session.execute(text(EDITED.format(items=":items")), {"items": as_sent(items)})
    return {place for place, other_text in found if other_text}
