"""What training does by the kind of answer: what an example is, its loss, its temperature."""

import re
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor
from torch.nn import functional

from services.feedback.quality import Floats, fit_temperature
from services.feedback.training.examples import TrainingExample
from services.feedback.training.fitting import Loss, one_of
from shared.answers.base import Answer, Kind
from shared.answers.spans import Span, SpansAnswer
from shared.errors import ConfigurationError
from shared.labels import label_key
from shared.models.template import Assembly

OUTSIDE = "O"
_NO_TAG = -100  # of a token that is no part of the text: torch's losses leave it out

Temperature = float | dict[str, float]
"""Of all scores, or of each label where each is judged by itself."""


def outputs_of(kind: Kind, labels: Sequence[str]) -> tuple[str, ...]:
    """What a new head has a score for: the labels, or for spans their tags (IOB2: Tjong Kim Sang
    and Veenstra 1999)."""
    if kind != "spans":
        return tuple(labels)
    return (OUTSIDE, *(f"{prefix}-{label}" for label in labels for prefix in "BI"))


def example_of(text: str, answer: Answer, labels: Sequence[str]) -> TrainingExample:
    """What one person's answer teaches."""
    if isinstance(answer, SpansAnswer):
        return TrainingExample(text, (), answer.spans)
    given = {label_key(name) for name in answer.names}
    return TrainingExample(text, tuple(float(label_key(label) in given) for label in labels))


def in_order(
    examples: Sequence[TrainingExample], labels: Sequence[str], outputs: Sequence[str]
) -> list[TrainingExample]:
    """The examples with their shares, which are in the order of `labels`, in that of the head's
    scores; one that names no labels has them in the workflow's order."""
    if all(re.fullmatch(r"LABEL_\d+", output) for output in outputs):
        return list(examples)
    keys = [label_key(label) for label in labels]
    if set(keys) != {label_key(output) for output in outputs}:
        return list(examples)  # tags
    places = [keys.index(label_key(output)) for output in outputs]
    return [
        each._replace(shares=tuple(each.shares[place] for place in places)) for each in examples
    ]


def loss_of(
    kind: Kind,
    examples: Sequence[TrainingExample],
    read: Sequence[Encoding],
    outputs: Sequence[str],
    assembly: Assembly,
) -> Loss:
    """What becomes small while a head learns these examples, in tokens as `read`, put
    together by `assembly`; `outputs` are what it has scores for.

    Raises:
        ConfigurationError: its tags are not those of IOB2, nor plain ones.
    """
    if kind == "spans":
        tags = [tags_of(e.spans, r, outputs) for e, r in zip(examples, read, strict=True)]
        return _of_tokens(tags, assembly)
    shares = torch.tensor([example.shares for example in examples])
    if kind == "label":
        return one_of(shares)
    return lambda logits, rows: functional.binary_cross_entropy_with_logits(logits, shares[rows])


def fitted(
    kind: Kind,
    logits: Sequence[Floats],
    examples: Sequence[TrainingExample],
    read: Sequence[Encoding],
    outputs: Sequence[str],
    weights: Floats,
    prior: Temperature | None,
) -> Temperature:
    """The temperature by which `logits`, of each text [labels] or [tokens, tags], mean what they
    say; by label for sets of labels. See `fit_temperature`."""
    if kind == "spans":
        tags = [np.array(tags_of(e.spans, r, outputs)) for e, r in zip(examples, read, strict=True)]
        stands_for = np.repeat(weights, [len(each) for each in tags])
        truth, scores = np.concatenate(tags), np.concatenate(logits)
        ours = truth != _NO_TAG
        one = prior if isinstance(prior, float) else None
        return fit_temperature(scores[ours], truth[ours], one, stands_for[ours])
    given = np.array([example.shares for example in examples]).round().astype(np.int64)
    scores = np.stack(logits)
    before = prior if isinstance(prior, dict) else dict.fromkeys(outputs, prior)
    # A label that is there or not is one of two, the other's logit being 0.
    return {
        label: fit_temperature(
            np.stack([np.zeros(len(scores)), scores[:, at]], axis=1),
            given[:, at],
            before.get(label),
            weights,
        )
        for at, label in enumerate(outputs)
    }


def tags_of(spans: Sequence[Span], read: Encoding, outputs: Sequence[str]) -> list[int]:
    """The number of each token's tag: offsets of tokens and spans count code points.

    Raises:
        ConfigurationError: as `loss_of`.
    """
    numbers = {label_key(name): number for number, name in enumerate(outputs)}
    tags = []
    ahead = sorted(spans, key=lambda span: span.order)
    begun: Span | None = None
    for (start, end), special in zip(read.offsets, read.special_tokens_mask, strict=True):
        if special or start == end:
            tags.append(_NO_TAG)
            continue
        while ahead and ahead[0].end <= start:
            ahead.pop(0)
        if not ahead or ahead[0].start >= end:
            tags.append(numbers[label_key(OUTSIDE)])
            continue
        prefix = "I-" if begun == ahead[0] else "B-"
        begun = ahead[0]
        number = numbers.get(label_key(prefix + begun.label), numbers.get(label_key(begun.label)))
        if number is None:
            raise ConfigurationError(
                f"a model with the tags {', '.join(outputs)} cannot be trained: they are neither "
                f"those of IOB2 nor plain"
            )
        tags.append(number)
    return tags


def _of_tokens(tags: Sequence[list[int]], assembly: Assembly) -> Loss:
    def loss(logits: Tensor, rows: list[int]) -> Tensor:
        longest = logits.shape[1]
        meant = torch.full((len(rows), longest), _NO_TAG)
        for at, row in enumerate(rows):
            meant[at, assembly.place(tags[row], longest)] = torch.tensor(tags[row])
        return functional.cross_entropy(logits.transpose(1, 2), meant, ignore_index=_NO_TAG)

    return loss
