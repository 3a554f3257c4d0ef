"""What a tokenizer's template puts around every text, and how a batch is made of such rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from shared.errors import ConfigurationError
from shared.models.literal import encoding

_ANY = ("a", "1", "the", "。", "я", "\u0645", "!")  # one of them has a token in every tokenizer


class Template(NamedTuple):
    """The tokens before and after a text, special or of a second text, and the type ids of the
    three parts."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    prefix_types: tuple[int, ...]
    text_type: int
    suffix_types: tuple[int, ...]

    def framed(self, tokens: Sequence[int]) -> list[int]:
        """The row of a text."""
        return [*self.prefix, *tokens, *self.suffix]

    def types(self, length: int) -> list[int]:
        """The type ids of a row of `length`."""
        inside = length - len(self.prefix) - len(self.suffix)
        return [*self.prefix_types, *[self.text_type] * inside, *self.suffix_types]


def template_of(tokenizer: Tokenizer, second: str | None = None) -> Template:
    """It, found out by a text; with a `second` text after each, which then belongs to it.

    Raises:
        ConfigurationError: no text has a token, or the second has none.
    """
    for text in _ANY:
        row = encoding(tokenizer, text, second)
        if row is None:
            continue
        marks = row.special_tokens_mask if second is None else row.sequence_ids
        ours = [mark == 0 for mark in marks]
        if True in ours:
            if second is not None and 1 not in marks:
                raise ConfigurationError(f"its tokenizer knows no word of {second!r}")
            first, last = ours.index(True), len(ours) - ours[::-1].index(True)
            return Template(
                prefix=tuple(row.ids[:first]),
                suffix=tuple(row.ids[last:]),
                prefix_types=tuple(row.type_ids[:first]),
                text_type=row.type_ids[first],
                suffix_types=tuple(row.type_ids[last:]),
            )
    raise ConfigurationError("its tokenizer knows no words")


@dataclass(frozen=True)
class Assembly:
    """How rows become the tensors of one batch, int64 [rows, longest].

    `alike` says that the rows must be equally long, because padding would change the answers.
    """

    pad_id: int
    side: Literal["right", "left"] = "right"
    alike: bool = False
    types: Template | None = None  # where the network is told the type ids
    mask: bool = True

    def __call__(self, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        longest = max(map(len, rows))
        if self.alike and any(len(row) != longest for row in rows):
            raise ValueError("rows of one batch must be equally long for this model")
        ids = torch.full((len(rows), longest), max(self.pad_id, 0), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        types = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            place = self.place(row, longest)
            ids[at, place] = torch.tensor(row, dtype=torch.int64)
            mask[at, place] = 1
            if self.types is not None:
                types[at, place] = torch.tensor(self.types.types(len(row)), dtype=torch.int64)
        batch = {"input_ids": ids}
        if self.mask:
            batch["attention_mask"] = mask
        if self.types is not None:
            batch["token_type_ids"] = types
        return batch

    def place(self, row: Sequence[int], longest: int) -> slice:
        """Where the row's own tokens are in a batch."""
        return slice(longest - len(row), longest) if self.side == "left" else slice(len(row))
