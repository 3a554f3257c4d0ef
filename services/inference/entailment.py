"""Labels without training data: a model of entailment is asked one hypothesis for each label.

Zero-shot classification (Yin, Hay and Roth 2019, "Benchmarking Zero-shot Text Classification"): the
model was trained to say whether a premise, here the text, entails a hypothesis, here `This text is
about {}.` with a label.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from services.inference.model import Model, Network, named, padded
from services.inference.packed import Packed
from shared.errors import ConfigurationError
from shared.models.reading import Checkpoint
from shared.models.task import Task
from shared.models.template import Template, template_of

_MIN_ROOM = 8  # tokens of a text


@dataclass(frozen=True)
class Entailment:
    """Scores rows of texts: logits [texts, labels]. `asked`: what is around a text with the
    hypothesis of each label, and the network that knows it.

    One label among several: the logit that the text entails it. Where each label is judged by
    itself: how far that is above the logit that it contradicts it.
    """

    alone: Template
    asked: tuple[tuple[Template, Network], ...]
    entails: int
    contradicts: int | None

    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        before, after = len(self.alone.prefix), len(self.alone.suffix)
        texts = [row[before : len(row) - after] for row in rows]
        found = [
            self._judged(network([template.framed(text) for text in texts]))
            for template, network in self.asked
        ]
        return torch.stack(found, dim=1)

    def _judged(self, logits: Tensor) -> Tensor:
        entailed = logits[:, self.entails]
        return entailed if self.contradicts is None else entailed - logits[:, self.contradicts]


def entailing(
    model: Model,
    model_id: str,
    checkpoint: Checkpoint,
    task: Task,
    packed: Packed | None,
    device: torch.device,
) -> Model:
    """`model`, which was proven with the longest hypothesis, as one that has the task's labels. The
    version is of the hypotheses, too: other ones get other scores.

    Raises:
        ConfigurationError: it is no model of entailment, or there is no room for a text.
    """
    labels = task.labels or ()
    if task.answers == "label" and len(labels) < 2:
        raise ConfigurationError("one label among several: the workflow names fewer than two")
    entails = _column(checkpoint.network.config, "entail")
    contradicts = None
    if task.answers == "labels":  # transformers takes the first class for it, or else the last
        contradicts = -1 if entails == 0 else 0
    alone = template_of(checkpoint.tokenizer)
    asked = []
    for hypothesis in task.hypotheses:
        template = template_of(checkpoint.tokenizer, hypothesis)
        types = None if checkpoint.assembly.types is None else template
        network: Network = (
            padded(checkpoint.network, device, replace(checkpoint.assembly, types=types))
            if packed is None
            else replace(packed, template=types)
        )
        asked.append((template, network))
    longest = len(checkpoint.template.framed([]))
    room = model.max_tokens - longest
    if room < _MIN_ROOM:
        raise ConfigurationError(
            f"the longest hypothesis leaves {room} of {model.max_tokens} tokens for a text"
        )
    whole = hashlib.sha256("\0".join((model.sha256, *task.hypotheses)).encode()).hexdigest()
    return replace(
        model,
        network=Entailment(alone, tuple(asked), entails, contradicts),
        labels=labels,
        max_tokens=room + len(alone.framed([])),
        version=named(model_id, whole),
        sha256=whole,
        in_bf16=None,
    )


def _column(config: Any, start: str) -> int:
    for name, number in config.label2id.items():
        if str(name).lower().startswith(start):
            return int(number)
    raise ConfigurationError(
        f"it judges no hypothesis: none of its labels, {', '.join(map(str, config.label2id))}, "
        "begins with 'entail'"
    )
