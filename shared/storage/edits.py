"""Finds ids that already stand for another text or came with other metadata.

What else is decided on (a draft, candidates, an action) counts as the text does. An item is its
workflow and its id. The rows of `item` know what it was decided on, as long as it is not erased
(docs/decisions/0022).
"""

from collections.abc import Iterable

from pydantic.main import IncEx
from pydantic_core import to_json

from shared.events.answered import AnswerItem
from shared.events.models import Item

# As JSON objects: 1 is 1.0, and the order of keys says nothing. Erased rows know nothing any more.
EDITED = """
    SELECT place, (item.text, coalesce(item.asked - 'expires_at', '{{}}'))
                  IS DISTINCT FROM (sent.text, coalesce(sent.asked, '{{}}')) AS other_text
    FROM jsonb_to_recordset(CAST({items} AS jsonb)) AS sent(
        place bigint, workflow text, id text, text text, metadata jsonb, asked jsonb)
    JOIN item USING (workflow, id)
    WHERE item.erased_at IS NULL AND item.metadata IS NOT NULL
      AND (item.text, item.metadata, coalesce(item.asked - 'expires_at', '{{}}'))
          IS DISTINCT FROM (sent.text, sent.metadata, coalesce(sent.asked, '{{}}'))
"""
_ASKED: IncEx = {"draft", "candidates", "action"}


def as_sent(items: Iterable[tuple[str, Item]]) -> str:
    """Items with their workflows, as `EDITED` takes them; `place` counts from 0."""
    rows = [
        {
            "place": place,
            "workflow": workflow,
            "id": item.id,
            "text": item.text,
            "metadata": item.metadata,
            "asked": item.model_dump(mode="json", include=_ASKED)
            if isinstance(item, AnswerItem)
            else None,
        }
        for place, (workflow, item) in enumerate(items)
    ]
    return to_json(rows, inf_nan_mode="strings").decode()
