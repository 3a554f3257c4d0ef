"""Rows of labelled texts from a file of another tool, of which nobody has said what it is.

A file whose answers have one label each is one of labels; whoever reads rows knows what to do with
these, as with `answer` of other kinds.
"""

import json

from shared.answers.base import Kind
from shared.formats.example import Example, Json, Reading, Unreadable
from shared.formats.json_lines import numbered
from shared.formats.peers.registry import PEERS, PeerFormat

_KINDS: tuple[Kind, ...] = ("labels", "spans")  # that can be trained on
_ANSWERED = ("accept", "reject", "ignore")


def format_in(name: str, content: bytes) -> PeerFormat | None:
    """Whose file it is, by its name's ending or its first record; None: rows, or nothing known."""
    if name.lower().endswith(".conll"):
        return "conll"
    if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        return "label-studio"
    first = _first(content)
    if first.get("answer") in _ANSWERED:
        return "prodigy"
    return "doccano" if isinstance(first.get("label"), list) else None


def rows_in(content: bytes, form: PeerFormat) -> list[Json]:
    """What people answered: `text`, `id`, `metadata`, and `label` or `answer`.

    Raises:
        ValueError: a record cannot be read, or has neither labels nor spans.
    """
    furthest, why = 0, "nobody has answered anything in it"
    for kind in (kind for kind in _KINDS if kind in PEERS[form].says):
        try:
            found = list(PEERS[form].read(content, Reading(kind)))
        except Unreadable as error:
            raise ValueError(str(error)) from None
        wrong = next((each for each in found if each.problem is not None), None)
        rows = [_row(each.example) for each in found if each.example and each.example.answer]
        if wrong is None and rows:
            return _labelled(rows)
        if wrong is not None and wrong.number > furthest:
            furthest, why = wrong.number, f"{PEERS[form].record} {wrong.number}: {wrong.problem}"
    raise ValueError(why)


def _row(example: Example) -> Json:
    return {**example.item, "answer": example.answer}


def _labelled(rows: list[Json]) -> list[Json]:
    """With a label each, where all of them have just one."""
    labels = [row["answer"].get("labels", ()) for row in rows]
    if any(len(each) != 1 for each in labels):
        return rows
    texts = ({name: row[name] for name in row if name != "answer"} for row in rows)
    return [{**row, "label": each[0]} for row, each in zip(texts, labels, strict=True)]


def _first(content: bytes) -> Json:
    """The first record of JSON Lines, or nothing where it is none."""
    line = next(numbered(content.split(b"\n", 20)), None)
    try:
        record = None if line is None else json.loads(line.content)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
