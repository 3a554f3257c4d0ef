"""The words of a task's text that speak for the AI's label, and those against it.

`item.explained` brings them (services/inference weighs them); `highlight` keeps them. Places are
counted in code points there, and a browser counts otherwise: so from here on the text travels in
pieces, each with its weight.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import bindparam, select, text, tuple_
from sqlalchemy.orm import Session

from shared.events.models import ItemExplained
from shared.storage.tables import Highlight, ReviewTask

# The same item twice, or explained anew by another model: what was said first stays.
STORE = text(
    """
    INSERT INTO highlight (workflow, item_id, label, model_version, words, explained_at)
    SELECT workflow, item_id, label, model_version, words, explained_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS new(
        workflow text, item_id text, label text, model_version text, words jsonb,
        explained_at timestamptz)
    ORDER BY workflow, item_id
    ON CONFLICT DO NOTHING
    """
)
# Built once: `in_` leaves cycles of objects to Python's collector wherever it is written down anew.
_OF_ITEMS = select(Highlight).where(
    tuple_(Highlight.workflow, Highlight.item_id).in_(bindparam("items", expanding=True))
)


class Piece(BaseModel):
    """A piece of the item's text; all of them in a row are the whole text."""

    text: str
    weight: float | None = Field(
        description="what the word adds to the label's log-odds: above 0 it speaks for the AI's "
        "label, below 0 against it; null: what stands between words"
    )


def row(event: ItemExplained) -> dict[str, object]:
    """The event as `STORE` takes it."""
    return {
        "workflow": event.workflow,
        "item_id": event.item_id,
        "label": event.label,
        "model_version": event.model_version,
        "words": [word.model_dump() for word in event.words],
        "explained_at": event.occurred_at.isoformat(),
    }


def find(session: Session, tasks: Sequence[ReviewTask]) -> dict[tuple[str, str], Highlight]:
    """What is known of these tasks' items, by workflow and id of the item; one query."""
    wanted = {(task.workflow, task.item_id) for task in tasks}
    if not wanted:
        return {}
    found = session.scalars(_OF_ITEMS, {"items": list(wanted)})
    return {(each.workflow, each.item_id): each for each in found}


def pieces(whole: str, words: Sequence[dict[str, Any]]) -> list[Piece] | None:
    """The text cut at its words; None where they are not words of this text."""
    cut: list[Piece] = []
    at = 0
    for word in words:
        start, end = int(word["start"]), int(word["end"])
        if not at <= start < end <= len(whole):
            return None
        if start > at:
            cut.append(Piece(text=whole[at:start], weight=None))
        cut.append(Piece(text=whole[start:end], weight=float(word["weight"])))
        at = end
    if at < len(whole):
        cut.append(Piece(text=whole[at:], weight=None))
    return cut
