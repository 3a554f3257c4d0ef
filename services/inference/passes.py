"""Puts texts of any length through a model: tokens, windows, batches.

Not for several threads at once: torch would only make them wait for each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding
from torch import Tensor

from services.inference.batcher import Cut, cut, plan
from services.inference.model import Model
from shared.errors import Permanent
from shared.models.template import template_of

MAX_WINDOWS = 8
OVERLAP_SHARE = 0.25  # of a window, with the next one
_CHARACTERS_PER_TOKEN = 64  # far more than any script needs; see `Passes.encode`
_NO_MEMORY = "can't allocate memory"  # of torch's allocator for processors


class Encoded(NamedTuple):
    """The tokens of a text, without special ones, and the windows that they are read by."""

    tokens: list[int]
    parts: Cut
    encoding: Encoding


class Window(NamedTuple):
    """Tokens `start` to `end` of a text, by its index, and the row that they make."""

    text: int
    start: int
    end: int
    row: list[int]


def refuse_not_finite(logits: NDArray[np.float64], index: int | None = None) -> None:
    """Raises `Permanent` for the first text with a score, [texts, …], that is not finite; with an
    `index`, where they are all that one text's."""
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if bad.size:
        text = bad[0] if index is None else index
        raise Permanent("not_finite", f"the model's scores of text {text} are not finite")


class Passes:
    """A model and the size of its batches."""

    def __init__(self, model: Model, token_budget: int) -> None:
        self._model = model
        self._budget = token_budget
        self._template = template_of(model.tokenizer)
        self._room = model.max_tokens - len(self._template.framed([]))

    @property
    def framed_before(self) -> int:
        """How many tokens a row has before the text's."""
        return len(self._template.prefix)

    def encode(self, text: str) -> Encoded:
        """A text's tokens, as far as the windows can reach."""
        # No window reaches beyond this many characters; reading a megabyte costs half a second.
        readable = text[: MAX_WINDOWS * self._room * _CHARACTERS_PER_TOKEN]
        # The tokenizer refuses a lone surrogate, which JSON can carry.
        readable = readable.encode("utf-8", "replace").decode("utf-8")
        encoding = self._model.tokenizer.encode(readable, add_special_tokens=False)
        tokens = encoding.ids
        parts = cut(len(tokens), self._room, int(self._room * OVERLAP_SHARE), MAX_WINDOWS)
        truncated = parts.truncated or len(readable) < len(text)
        return Encoded(tokens, parts._replace(truncated=truncated), encoding)

    def logits(self, texts: Sequence[Encoded]) -> Iterator[tuple[Window, NDArray[np.float64]]]:
        """Each window of the texts with what the model says of it: [labels]; or of its tokens, with
        those around the text: [tokens, labels]. In no order: equally long ones go together.

        Raises:
            Permanent: nothing of a text is left to score (`unscorable`).
            MemoryError: there is not enough. What else the model raises passes through.
        """
        windows = [
            Window(index, start, end, self._template.framed(each.tokens[start:end]))
            for index, each in enumerate(texts)
            for start, end in each.parts.spans
        ]
        for window in windows:
            if not window.row:
                why = f"text {window.text} has no token that the model knows"
                raise Permanent("unscorable", why)
        lengths = [len(window.row) for window in windows]
        pads, alike = self._model.batches != "packed", self._model.batches == "equal_lengths"
        for batch in plan(lengths, self._budget, pads=pads, alike=alike):
            said = self._said([windows[i].row for i in batch]).double().cpu().numpy()
            rows: Iterable[NDArray[np.float64]] = said
            if self._model.of_tokens:
                rows = np.split(said, np.cumsum([lengths[i] for i in batch[:-1]]))
            for row, i in zip(rows, batch, strict=True):
                yield windows[i], row

    def _said(self, rows: Sequence[Sequence[int]]) -> Tensor:
        try:
            return self._model.network(rows)
        except RuntimeError as error:  # torch has no MemoryError
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise
