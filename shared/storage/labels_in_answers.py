"""SQL over stored answers: the labels that are in them.

The labels of an answer are its label, those of its set, those of its spans, or its verdict. Forms
and texts have none: a column called `label` holds a short line of them, which hardly two share.
"""

import json
from collections.abc import Iterable
from typing import Any

_PATHS = ("$.labels[*]", "$.spans[*].label", "$.verdict")
_PATHS_OF_ONE = ("$.labels[*] ? (@ == $name)", "$.spans[*] ? (@.label == $name)", "$.verdict")


def labels_of(line: str, answer: str) -> str:
    """A query of the labels, each once, where the columns are `line` (the short line of the answer)
    and `answer` (the answer, NULL where the line is a label). Preferences and the answer that there
    is none go by their line."""
    within = (f"SELECT jsonb_path_query({answer}, '{path}') #>> '{{}}'" for path in _PATHS)
    is_line = f"""{answer} IS NULL OR {answer} ? 'preferred'
        OR {answer} IN ('{{"labels": []}}', '{{"spans": []}}')"""
    whole = f"SELECT {line} WHERE {line} IS NOT NULL AND ({is_line})"
    return " UNION ".join((whole, *within))


def same_of_label(label: str, one: str, other: str) -> str:
    """A condition: whether two answers say the same of the label, spans in the same places."""
    named = f"jsonb_build_object('name', {label})"
    return " AND ".join(
        f"jsonb_path_query_array({one}, '{path}', {named})"
        f" = jsonb_path_query_array({other}, '{path}', {named})"
        for path in _PATHS_OF_ONE
    )


def answers_with(labels: Iterable[str]) -> list[dict[str, Any]]:
    """What an answer contains (`@>`), one of these at least, in which one of the labels is."""
    return [
        part
        for each in labels
        for part in ({"labels": [each]}, {"spans": [{"label": each}]}, {"verdict": each})
    ]


def answers_with_json(labels: Iterable[str]) -> list[str]:
    """The same for `answer @> ANY (CAST(:parts AS jsonb[]))`."""
    return [json.dumps(part) for part in answers_with(labels)]
