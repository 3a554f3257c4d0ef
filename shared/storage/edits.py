"""Finds ids that already stand for another text or came with other metadata.

An item is its workflow and its id. The rows of `item` know what it was decided on, as long as it is
not erased (docs/decisions/0022).
"""

from collections.abc import Iterable

from pydantic_core import to_json

from shared.events.models import Item

# As JSON objects: 1 is 1.0, and the order of keys says nothing. Erased rows know nothing any more.
EDITED = """
    SELECT place, item.text IS DISTINCT FROM sent.text AS other_text
    FROM jsonb_to_recordset(CAST({items} AS jsonb)) AS sent(
        place bigint, workflow text, id text, text text, metadata jsonb)
    JOIN item USING (workflow, id)
    WHERE item.erased_at IS NULL AND item.metadata IS NOT NULL
      AND (item.text, item.metadata) IS DISTINCT FROM (sent.text, sent.metadata)
"""


def as_sent(items: Iterable[tuple[str, Item]]) -> str:
    """Items with their workflows, as `EDITED` takes them; `place` counts from 0."""
    rows = [
        {
            "place": place,
            "workflow": workflow,
            "id": item.id,
            "text": item.text,
            "metadata": item.metadata,
        }
        for place, (workflow, item) in enumerate(items)
    ]
    return to_json(rows, inf_nan_mode="strings").decode()
