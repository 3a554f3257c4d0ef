"""Spans: a model tags the tokens of a text, and what is tagged alike belongs together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from services.inference.heads.tags import read_tags, runs
from services.inference.heads.words import words_of
from services.inference.model import Model
from services.inference.passes import Encoded, Passes, Window, refuse_not_finite
from shared.errors import Permanent
from shared.events.answered import AnswerPrediction


class Tagger:
    """A model of tokens, the labels of its tags and the size of its batches.

    A word has the tag of its first token, because that alone is what such models are taught
    (transformers calls this the strategy "first").
    """

    def __init__(self, model: Model, labels: Sequence[str], token_budget: int) -> None:
        self._passes = Passes(model, token_budget)
        self.labels = tuple(labels)
        self._tags = read_tags(model.labels, self.labels)
        self._pieces = _pieces(model.tokenizer)
        self._temperature = model.temperature
        self.model_version = model.version
        self.sha256 = model.sha256
        self.batches = model.batches

    def classify(self, texts: Sequence[str]) -> list[AnswerPrediction]:
        """The spans of each text, in the texts' order; they do not depend on the other texts.

        Of a text that is longer than the window, a token that two windows read is tagged by the one
        that reads more around it. The confidence is the least sure word's probability of its tag;
        `parts` has the mean of its words' for each span.

        Raises:
            Permanent, MemoryError: as `Classifier.classify`.
        """
        encoded = [self._passes.encode(text) for text in texts]
        logits = [np.full((len(each.tokens), len(self._tags)), np.nan) for each in encoded]
        for window, row in self._passes.logits(encoded):
            first, last = _read_best(encoded[window.text], window)
            before = self._passes.framed_before + first - window.start
            logits[window.text][first:last] = row[before : before + last - first]
        return [
            self._prediction(index, *each)
            for index, each in enumerate(zip(texts, encoded, logits, strict=True))
        ]

    def _prediction(
        self, index: int, text: str, encoded: Encoded, logits: NDArray[np.float64]
    ) -> AnswerPrediction:
        read = encoded.parts.spans[-1][1]
        goes_on = [token in self._pieces for token in encoded.tokens] if self._pieces else None
        words = words_of(text, encoded.encoding.offsets[:read], goes_on)
        if not words:
            raise Permanent("unscorable", f"text {index} has no token that the model knows")
        decide = logits[[first for first, _, _ in words]] / self._temperature
        refuse_not_finite(decide, index)
        best = decide.argmax(axis=1)
        # The largest share of a softmax, whose largest power is 1.
        sure = 1 / np.exp(decide - decide.max(axis=1, keepdims=True)).sum(axis=1)
        found = runs([self._tags[number] for number in best])
        return AnswerPrediction(
            kind="spans",
            answer={
                "spans": [
                    {"start": words[first][1], "end": words[end - 1][2], "label": label}
                    for first, end, label in found
                ]
            },
            confidence=float(sure.min()),
            parts=tuple(float(sure[first:end].mean()) for first, end, _ in found),
            model_version=self.model_version,
            tokens=len(encoded.tokens),
            windows=len(encoded.parts.spans),
            truncated=encoded.parts.truncated,
        )


def _pieces(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that go on with a word; empty where the tokenizer does not mark them."""
    mark = getattr(tokenizer.model, "continuing_subword_prefix", None)
    if not mark:
        return frozenset()
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    return frozenset(number for name, number in vocabulary.items() if name.startswith(mark))


def _read_best(encoded: Encoded, window: Window) -> tuple[int, int]:
    """The tokens of a window that no other one reads with more around them: an overlap is shared
    out in its middle."""
    spans = encoded.parts.spans
    place = spans.index((window.start, window.end))
    first = window.start if place == 0 else (window.start + spans[place - 1][1]) // 2
    last = window.end if place == len(spans) - 1 else (spans[place + 1][0] + window.end) // 2
    return first, last
