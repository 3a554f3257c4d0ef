"""Rows in the text format of Postgres's COPY.

https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2: a line a row, tabs between
the fields. Pure; written for speed: only what may hold what needs an escape is searched for it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from pydantic_core import to_json

from services.logger.projection import ANSWER_COLUMNS, KNOWN_COLUMNS, STATUS_COLUMNS, ItemFacts
from services.logger.rows import EventRow

ItemKey = tuple[str, str]
"""Workflow and id."""


def _text(value: str) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace("\r", "\\r").replace("\t", "\\t")


def _json(value: object) -> str:
    # A foreign program's NaN becomes text: JSON has none.
    return _json_text(to_json(value, inf_nan_mode="strings").decode())


def _json_text(value: str) -> str:
    """JSON escapes control characters itself."""
    return value.replace("\\", "\\\\")


def _bytes(value: bytes) -> str:
    return rf"\\x{value.hex()}"


_time = datetime.isoformat
# By column; `str` where no value can hold what needs an escape. Of events, where the value is, too.
_EVENT: dict[str, tuple[Callable[[Any], str], str]] = {
    "event_id": (str, "event_id"),
    "type": (str, "event.type"),
    "version": (str, "event.version"),
    "workflow": (str, "event.workflow"),
    "item_id": (_text, "event.item_id"),
    "occurred_at": (_time, "event.occurred_at"),
    "source": (_text, "source"),
    "trace_id": (str, "trace_id"),
    "data": (_json_text, "data"),
    "text_commitment": (_bytes, "commitment"),
}
_ITEM: dict[str, Callable[[Any], str]] = {
    "workflow": str,
    "id": _text,
    "text": _text,
    "metadata": _json,
    "received_at": _time,
    "status": str,
    "progress": str,
    "status_at": _time,
    "final_label": _text,
    "reviewer": _text,
    "failure": _text,
    "reviewed_at": _time,
    "ai_label": _text,
    "confidence": str,
    "distribution": _json,
    "model_version": _text,
    "policy_version": _text,
    "reasons": _json,
    "trace_id": str,
    "scored_at": _time,
    "routed_at": _time,
    "kind": str,
    "asked": _json,
    "ai_answer": _json,
    "answer": _json,
}
EVENT_COLUMNS = tuple(_EVENT)
ITEM_COLUMNS = (
    "workflow",
    "id",
    "text",
    "metadata",
    "received_at",
    *STATUS_COLUMNS,
    *KNOWN_COLUMNS,
    *ANSWER_COLUMNS,
)
STAGED_ITEM_COLUMNS = (*ITEM_COLUMNS, "text_salts")
_EVENT_FORMATS, _EVENT_VALUES = zip(*_EVENT.values(), strict=True)
_event_columns: Callable[[EventRow], tuple[object, ...]] = attrgetter(*_EVENT_VALUES)
_item_columns: Callable[[ItemFacts], tuple[object, ...]] = attrgetter(*ITEM_COLUMNS)
_ITEM_FORMATS = (*(_ITEM[column] for column in ITEM_COLUMNS), _bytes)


def event_lines(rows: Iterable[EventRow]) -> bytes:
    """The events, in `EVENT_COLUMNS`."""
    return _lines(_EVENT_FORMATS, map(_event_columns, rows))


def item_lines(items: Iterable[ItemFacts], salts: Mapping[ItemKey, bytes]) -> bytes:
    """The items, in `STAGED_ITEM_COLUMNS`."""
    rows = ((*_item_columns(item), salts.get((item.workflow, item.id))) for item in items)
    return _lines(_ITEM_FORMATS, rows)


def _lines(formats: tuple[Callable[[Any], str], ...], rows: Iterable[tuple[object, ...]]) -> bytes:
    lines = [
        "\t".join(
            [
                r"\N" if value is None else form(value)
                for form, value in zip(formats, row, strict=True)
            ]
        )
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines).encode()
