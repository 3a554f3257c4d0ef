"""The replay set: texts that the model knew before, so that it does not forget them.

A part is trained on again beside what people decided, another part is only measured on.
"""

import random
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from services.feedback.training import rated_texts
from services.feedback.training.examples import LabelledText, TrainingExample, labelled_texts
from services.feedback.training.labelled_texts import text_key
from services.feedback.training.teaching import example_of
from shared.answers.base import PLAIN, AnswerSpec
from shared.answers.label import LabelAnswer
from shared.errors import ConfigurationError
from shared.hashing import place01
from shared.labels import label_key

_FILE_HELD_OUT = 0.2


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
    held_out = [LabelledText(s.text, LabelAnswer(label=s.label)) for s in split.held_out]
    return ReplaySet("movie snippets (Hutto & Gilbert 2014)", examples, held_out)


def from_file(path: Path, labels: Sequence[str], spec: AnswerSpec = PLAIN) -> ReplaySet:
    """A file of labelled texts (see `labelled_texts`); a fifth, by the hash of the text, is only
    measured on, the rest replayed. The examples' shares are in the order of `labels`.

    Raises:
        ConfigurationError: as `labelled_texts`, or there is nothing to replay.
    """
    found = divided_by_text(
        path.name, labelled_texts(path, replace(spec, labels=tuple(labels))), labels
    )
    if not found.examples:
        raise ConfigurationError(f"{path}: nothing to replay")
    return found


def divided_by_text(name: str, texts: Sequence[LabelledText], labels: Sequence[str]) -> ReplaySet:
    """Labelled texts in these parts; the examples' shares are in the order of `labels`."""
    found = ReplaySet(name, [], [])
    for each in texts:
        if place01("replay", text_key(each.text)) < _FILE_HELD_OUT:
            found.held_out.append(each)
        else:
            found.examples.append(example_of(each.text, each.answer, labels))
    return found


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
