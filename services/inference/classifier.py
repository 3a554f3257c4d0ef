"""The classifier: texts of any length in, calibrated distributions over the labels out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.inference.model import Model, label_order
from services.inference.passes import Passes, refuse_not_finite
from services.inference.precision import Precision
from services.inference.proving import NO_PROOF, Proof, in_bf16_if_proven
from services.inference.sources import read_model, refused_by_name, token_budget_of
from shared.models.task import Task


class Prediction(NamedTuple):
    """The model's answer for one text.

    `distribution` holds a probability per label, in the order of `Classifier.labels`; its sum
    is 1. `tokens` counts those of the text without special tokens; `windows` is how many passes
    through the model it took, and `truncated` says that part of the text was in none of them.
    """

    distribution: tuple[float, ...]
    truncated: bool
    windows: int
    tokens: int


class Classifier:
    """A model, the order of its labels and the size of its batches.

    Not for several threads at once: see `passes`.
    """

    def __init__(self, model: Model, labels: Sequence[str] | None, token_budget: int) -> None:
        self._passes = Passes(model, token_budget)
        self._columns = len(model.labels)
        self.labels = tuple(labels) if labels is not None else model.labels
        self._order = label_order(model.labels, self.labels)
        self.model_version = model.version
        self.max_tokens = model.max_tokens
        self.temperature = model.temperature
        self.sha256 = model.sha256
        self.batches = model.batches

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Score `texts`; the answers are in their order and do not depend on the other texts.

        A text that is longer than the window is scored by up to `MAX_WINDOWS` overlapping windows;
        its logits are their mean, weighted by their tokens, so that a short rest counts little.

        Raises:
            Permanent: the scores of a text are not finite (`not_finite`), or nothing of it is left
                to score (`unscorable`); score its neighbours in another call.
            MemoryError: there is not enough. What else the model raises passes through.
        """
        encoded = [self._passes.encode(text) for text in texts]
        sums = np.zeros((len(texts), self._columns))
        weights = np.zeros((len(texts), 1))
        for window, logits in self._passes.logits(encoded):
            weight = max(window.end - window.start, 1)
            sums[window.text] += logits * weight
            weights[window.text] += weight
        refuse_not_finite(sums)
        distributions = _softmax(sums / weights / self.temperature)[:, self._order]
        return [
            Prediction(tuple(row.tolist()), parts.truncated, len(parts.spans), len(tokens))
            for row, (tokens, parts, _) in zip(distributions, encoded, strict=True)
        ]


def load(
    model: str,
    *,
    labels: Sequence[str] | None = None,
    hypothesis: str = "",
    threads: int = 1,
    token_budget: int | None = None,
    precision: Precision = "exact",
    proof: Proof = NO_PROOF,
) -> Classifier:
    """Load "embedded", a folder (checkpoint, or adapter for the embedded base), or a hub id, at a
    commit, tag or branch with `@revision` after it.

    `labels` is the order wanted; their names must be the model's, in any case (a model that only
    has LABEL_0, LABEL_1, ... takes them as they come), but with a `hypothesis`, for which the model
    is one of entailment (see `entailment`). Runs on a GPU if there is one. Sets torch's thread
    count for the whole process: two on a busy machine are ten times slower than one.

    `precision`: "exact" is float32; "auto" is bfloat16 where `proof` shows that texts are routed
    the same (see `proving`), and "bf16" is an error where it does not. The first proof for a model
    takes as long as scoring its texts twice.

    Raises:
        ConfigurationError: the model cannot be loaded or does not fit; the text says what to do.
    """
    budget = token_budget_of(token_budget)

    def scores(by: Model, texts: Sequence[str]) -> NDArray[np.float64]:
        answers = Classifier(by, labels, budget).classify(texts)
        return np.array([answer.distribution for answer in answers])

    task = Task("label", None if labels is None else tuple(labels), hypothesis)
    with refused_by_name(model):
        read = read_model(model, task, threads)
        if precision != "exact":
            read = in_bf16_if_proven(read, proof, scores, insist=precision == "bf16")
        return Classifier(read, labels, budget)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
