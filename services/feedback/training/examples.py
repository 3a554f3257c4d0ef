"""Texts with people's answers: what a model learns from and is judged by, and files of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind
from shared.answers.reading import KIND_NAMES, read_answer
from shared.answers.spans import Span
from shared.errors import ConfigurationError
from shared.formats.rows_in import Row, read_rows
from shared.labels import distinct, spelled

_LEARNED: tuple[Kind, ...] = ("labels", "spans")


class TrainingExample(NamedTuple):
    """A text and the share of people for each label, in the model's order; the sum is 1 where one
    label is asked for. Or the spans, where these are."""

    text: str
    shares: tuple[float, ...]
    spans: tuple[Span, ...] = ()


class LabelledText(NamedTuple):
    """A text, the right answer, and for how many items it stands."""

    text: str
    answer: Answer
    weight: float = 1.0


def labelled_texts(path: Path, spec: AnswerSpec) -> list[LabelledText]:
    """The rows of a file with `text` and the answer: `label`, `labels` or `spans`, by what is asked
    for; or of an export of ours (shared/formats/rows_in.py).

    Raises:
        ConfigurationError: it cannot be read, or a row lacks one of them or has an answer that is
            none; where, and why.
    """
    found = []
    for number, row in enumerate(read_rows(path), start=1):
        text = row.get("text")
        try:
            if not isinstance(text, str) or not text:
                raise AnswerError("text", "is missing")
            found.append(LabelledText(text, read_answer(_value(row, spec.kind), spec, Asked(text))))
        except AnswerError as error:
            needed = "a label" if spec.kind == "label" else spec.kind
            among = f" out of {', '.join(spec.labels)}" if spec.labels else ""
            raise ConfigurationError(
                f"{path}: row {number}: needs a text and {needed}{among}; {error}"
            ) from None
    return found


def named_in(texts: Sequence[LabelledText]) -> tuple[str, ...]:
    """The labels of the answers, by alphabet.

    Raises:
        ConfigurationError: two of them are spellings of one.
    """
    return distinct(sorted({name for each in texts for name in each.answer.names}))


def kind_of(path: Path) -> Kind:
    """Which kind of answer the rows of a file have, by the first of them.

    Raises:
        ConfigurationError: it cannot be read.
    """
    row = next(iter(read_rows(path)), {})
    found: Kind = next((kind for kind in _LEARNED if kind in row), "label")
    return KIND_NAMES.get(str(row.get("kind")), found)


def _value(row: Row, kind: Kind) -> object:
    """The answer in a row: by the kind's own name, or as `answer`; in CSV as JSON."""
    if kind == "label":
        return {kind: spelled(row.get(kind)) or ""}
    value: object = row[kind] if kind in row else row.get("answer")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise AnswerError(kind, "must be JSON") from None
    return {kind: value} if kind in row else value
