"""Sets of labels: each label is judged by itself."""

from collections.abc import Sequence

import numpy as np

from services.inference.model import Model, label_order
from services.inference.passes import Passes, refuse_not_finite
from shared.events.answered import AnswerPrediction

_PRESENT = 0.5  # from this probability on a label belongs to the answer


class LabelSets:
    """A model that gives each label a probability of its own, the order of the labels and the size
    of the batches."""

    def __init__(self, model: Model, labels: Sequence[str], token_budget: int) -> None:
        self._passes = Passes(model, token_budget)
        self.labels = tuple(labels)
        self._order = label_order(model.labels, self.labels)
        self._temperatures = np.array(model.temperatures)
        self.model_version = model.version
        self.sha256 = model.sha256
        self.batches = model.batches

    def classify(self, texts: Sequence[str]) -> list[AnswerPrediction]:
        """The labels of each text that have a probability of a half and more, in the texts' order;
        they do not depend on the other texts.

        A text that is longer than the window has a label where one of its windows has: each label's
        logit is the largest. The confidence is the least sure label's, and `parts` has the
        probability of every label.

        Raises:
            Permanent, MemoryError: as `Classifier.classify`.
        """
        encoded = [self._passes.encode(text) for text in texts]
        largest = np.full((len(texts), len(self.labels)), -np.inf)
        for window, logits in self._passes.logits(encoded):
            np.maximum(largest[window.text], logits, out=largest[window.text])
        refuse_not_finite(largest)
        present = (1 / (1 + np.exp(-largest / self._temperatures)))[:, self._order]
        sureness = np.maximum(present, 1 - present).min(axis=1, initial=1.0)
        return [
            AnswerPrediction(
                kind="labels",
                answer={
                    "labels": [
                        label for label, p in zip(self.labels, row, strict=True) if p >= _PRESENT
                    ]
                },
                confidence=confidence,
                parts=dict(zip(self.labels, row, strict=True)),
                model_version=self.model_version,
                tokens=len(tokens),
                windows=len(parts.spans),
                truncated=parts.truncated,
            )
            for row, confidence, (tokens, parts, _) in zip(
                present.tolist(), sureness.tolist(), encoded, strict=True
            )
        ]
