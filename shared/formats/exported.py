"""Reads the item and its label from a row of one of our own exports.

Every command that reads items or labelled texts takes the files that `hitl export` and the API
write, so that nobody has to rename columns first.
"""

import json
from collections.abc import Collection, Mapping

from shared.formats.rows_out import csv_text

_MARKS = frozenset({"workflow", "ai_label"})
# What a reader calls it, and what the exports do; the first that is there. The items' `final_label`
# is not among them: most are the machine's own, and a model that learns from itself learns nothing.
_NAMES = {
    "id": ("item_id", "id"),
    "text": ("input_text", "text"),
    "label": ("correct_label", "label"),
    "metadata": ("metadata",),
    "distribution": ("ai_distribution", "distribution"),
}
_OBJECTS = frozenset({"metadata", "distribution"})


def is_exported(columns: Collection[str]) -> bool:
    """Whether only an export of ours has such columns."""
    return _MARKS.issubset(columns)


def exported_line(content: bytes) -> dict[str, object] | None:
    """The row in a line of JSON Lines, if it is of one of our exports."""
    if b'"ai_label"' not in content or b'"workflow"' not in content:
        return None
    try:
        row = json.loads(content)
    except ValueError:
        return None  # whoever reads the line will say so
    return row if isinstance(row, dict) and is_exported(row) else None


def of_csv(cells: Mapping[str, str]) -> dict[str, object]:
    """The row as it was before it became cells: without the apostrophes that disarm formulas."""
    return {name: csv_text(cell) for name, cell in cells.items() if cell}


def item_of(row: Mapping[str, object]) -> dict[str, object]:
    """`id`, `text`, `label`, `metadata` and `distribution`, as far as the row has them. An erased
    item has no text.

    Raises:
        ValueError: what should be a JSON object is none.
    """
    found: dict[str, object] = {}
    for name, columns in _NAMES.items():
        value = next((row[column] for column in columns if row.get(column) is not None), None)
        if isinstance(value, str) and name in _OBJECTS:  # as CSV and Parquet have them
            value = json.loads(value)
        if value is not None:
            found[name] = value
    return found
