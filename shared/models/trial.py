"""Sample rows that a model is tried with before it is trusted.

Fixed texts, and words of its own vocabulary: it may know no word of English.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from tokenizers import Tokenizer

from shared.errors import ConfigurationError
from shared.models.literal import encoded
from shared.models.template import Template

_WORDS = 64
_LONG_ROW = 128  # tokens
TEXTS = ("The film was good.", "No: this is not at all what I had ordered in 2024!")
# A tokenizer that knows anything gives two of them other tokens.
_SINGLE_WORDS = ("the", "good", "x", "7", "!", "好", "ж", "\u0645", "é")


@dataclass(frozen=True)
class Rows:
    """Two of equal length that differ between their first and last word, `mixed` ones of other
    lengths, a long one. A network that only sees one place of a text is thereby found out."""

    one: list[int]
    other: list[int]
    mixed: list[list[int]]
    long: list[int]

    @property
    def all(self) -> list[list[int]]:
        """Each of them."""
        return [self.one, self.other, *self.mixed, self.long]


def own_words(
    tokenizer: Tokenizer, special: Collection[int], below: int | None = None
) -> list[int]:
    """Ids of up to 64 words of the vocabulary, far apart; none `special`, all smaller than `below`.

    Raises:
        ConfigurationError: the tokenizer gives every text the same tokens.
    """
    marked = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    limit = below or tokenizer.get_vocab_size()
    usual = sorted(
        i for i in tokenizer.get_vocab().values() if i < limit and i not in marked | set(special)
    )
    step = max(1, len(usual) // _WORDS)
    chosen = list(islice(usual, step // 2, None, step))[:_WORDS]
    spelled = [tokenizer.decode([i]) for i in chosen]
    found = {tuple(encoded(tokenizer, word)) for word in (*_SINGLE_WORDS, *spelled)} - {()}
    if len(usual) < 2 or len(found) < 2:
        raise ConfigurationError("its tokenizer gives every text the same tokens")
    return chosen


def rows_of(tokenizer: Tokenizer, template: Template, words: Sequence[int], window: int) -> Rows:
    """The rows for a model with this window, special tokens included."""
    room = window - len(template.framed([]))
    half = max(1, min(6, len(words) // 2, room))
    mixed = [list(words[: min(half + 2, room)])]
    mixed += [tokens[:room] for text in TEXTS if (tokens := encoded(tokenizer, text))]
    return Rows(
        one=template.framed(words[:half]),
        other=template.framed(
            [words[0], *words[-half:][1:-1], words[half - 1]] if half > 2 else words[-half:]
        ),
        mixed=[template.framed(tokens) for tokens in mixed],
        long=row_of(template, words[::-1], min(window, _LONG_ROW)),
    )


def row_of(template: Template, words: Sequence[int], length: int) -> list[int]:
    """One of that many tokens."""
    inside = max(length - len(template.framed([])), 1)
    return template.framed([words[i % len(words)] for i in range(inside)])
