"""Reads the item, what was predicted and what was answered from a row of one of our own exports.

Every command that reads items or labelled texts takes the files that `hitl export` and the API
write, so that nobody has to rename columns first.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from shared.answers.base import Kind
from shared.answers.reading import KIND_NAMES
from shared.formats.example import Example
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
    "draft": ("draft",),
    "candidates": ("candidates",),
    "action": ("asked_action",),
    "expires_at": ("expires_at",),
    "answer": ("answer",),
    "prediction": ("ai_answer",),
    "confidence": ("ai_confidence", "confidence"),
    "model_version": ("model_version",),
    "parts": ("ai_parts", "ai_distribution", "distribution"),
}
_OBJECTS = frozenset(
    {"metadata", "distribution", "candidates", "action", "answer", "prediction", "parts"}
)
_ASKED = ("draft", "candidates", "action", "expires_at")


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


def kind_of(row: Mapping[str, object]) -> Kind:
    """Which kind of answer a row is about.

    Raises:
        ValueError: none that is known here.
    """
    kind = row.get("kind") or "label"
    if kind not in KIND_NAMES:
        raise ValueError(f"kind: {kind!r} is none of {', '.join(KIND_NAMES)}")
    return KIND_NAMES[str(kind)]


def item_of(row: Mapping[str, object]) -> dict[str, object]:
    """`id`, `text`, `label`, `metadata` and `distribution`, as far as the row has them; of other
    kinds than label `answer` in their place, and what the item brought. An erased item has no text.

    Raises:
        ValueError: what should be a JSON object is none.
    """
    if kind_of(row) == "label":
        return _found(row, "id", "text", "label", "metadata", "distribution")
    return _found(row, "id", "text", "answer", "metadata", *_ASKED)


def example_of(row: Mapping[str, object]) -> Example | None:
    """The whole of it; None for an item whose text was erased.

    Raises:
        ValueError: what should be a JSON object is none.
    """
    item = _found(row, "id", "text", "metadata", *_ASKED)
    if "text" not in item:
        return None
    said = _found(row, "answer", "prediction", "confidence", "model_version", "parts")
    prediction = None
    if "prediction" in said:
        prediction = {"answer": said["prediction"]} | {
            name: said[name] for name in ("confidence", "model_version", "parts") if name in said
        }
    return Example(kind_of(row), item, prediction, said.get("answer"))


def _found(row: Mapping[str, object], *names: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        columns = _NAMES[name]
        value = next((row[column] for column in columns if row.get(column) is not None), None)
        if isinstance(value, str) and name in _OBJECTS:  # as CSV and Parquet have them
            value = json.loads(value)
        elif isinstance(value, str) and name == "confidence":
            value = float(value)
        if value is not None:
            found[name] = value
    return found
