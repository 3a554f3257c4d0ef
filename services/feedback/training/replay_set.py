"""The replay set: texts that the model knew before, so that it does not forget them.

A part is trained on again beside what people decided, another part is only measured on.
"""

import random
from collections.abc import Sequence, Set
from pathlib import Path
from typing import NamedTuple

from services.feedback.training import rated_texts
from services.feedback.training.labelled_texts import text_key
from shared.errors import ConfigurationError
from shared.formats.rows_in import read_rows
from shared.hashing import place01
from shared.labels import known_as, label_key

_FILE_HELD_OUT = 0.2


class TrainingExample(NamedTuple):
    """A text and the share of people for each label, in the model's order; the sum is 1."""

    text: str
    shares: tuple[float, ...]


class LabelledText(NamedTuple):
    """A text, the index of its right label, and for how many items it stands."""

    text: str
    label: int
    weight: float = 1.0


class ReplaySet(NamedTuple):
    """What is replayed and what is only measured on."""

    name: str
    examples: list[TrainingExample]
    held_out: list[LabelledText]


def movies(data_dir: Path, labels: Sequence[str]) -> ReplaySet:
    """The embedded model's own texts: it was trained on the replayed part, not on the other.

    Raises:
        ValueError: a label is none of the texts'.
    """
    split = rated_texts.split_movies(data_dir)
    known: list[str] = [*rated_texts.LABELS]
    keys = [label_key(label) for label in labels]
    order = [known.index(key) for key in keys]
    examples = [
        TrainingExample(snippet.text, tuple(snippet.shares[i] for i in order))
        for snippet in split.train
    ]
    held_out = [LabelledText(s.text, keys.index(s.label)) for s in split.held_out]
    return ReplaySet("movie snippets (Hutto & Gilbert 2014)", examples, held_out)


def from_file(path: Path, labels: Sequence[str]) -> ReplaySet:
    """A file with `text` and `label`, or an export of ours (shared/formats/rows_in.py); a fifth, by
    the hash of the text, is measured on, the rest replayed.

    Raises:
        ConfigurationError: the file has a line without them, or a label that is none of these.
    """
    examples, held_out = [], []
    for number, row in enumerate(read_rows(path), start=1):
        text, label = row.get("text"), row.get("label")
        known = known_as(label, labels)
        if not isinstance(text, str) or not text or known is None:
            raise ConfigurationError(
                f"{path}: row {number}: needs a text and a label out of {', '.join(labels)}, "
                f"not {label!r}"
            )
        index = list(labels).index(known)
        if place01("replay", text_key(text)) < _FILE_HELD_OUT:
            held_out.append(LabelledText(text, index))
        else:
            shares = tuple(float(i == index) for i in range(len(labels)))
            examples.append(TrainingExample(text, shares))
    if not examples:
        raise ConfigurationError(f"{path}: nothing to replay")
    return ReplaySet(path.name, examples, held_out)


def without(old: ReplaySet, judging: Set[str], taught: Set[str]) -> ReplaySet:
    """No text of `judging` is replayed, and none of `taught` is measured on; both are text keys."""
    return ReplaySet(
        old.name,
        [each for each in old.examples if text_key(each.text) not in judging],
        [judged for judged in old.held_out if text_key(judged.text) not in taught],
    )


def sample(examples: Sequence[TrainingExample], count: int, seed: int) -> list[TrainingExample]:
    """So many of them, the same for the same seed."""
    chosen = random.Random(seed)  # noqa: S311 - a sample, no secret
    return chosen.sample(list(examples), min(count, len(examples)))
