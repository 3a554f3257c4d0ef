"""The words that the tokens of a text are pieces of.

Pure. A tokenizer of BERT's kind marks the pieces that go on with a word. Of the others a word is
what stands between spaces; a mark of punctuation, an emoji and a character of a script without
spaces stand for themselves.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_ASCII_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_ALONE = (
    (0x2600, 0x27BF), (0x1F000, 0x1FAFF),  # emoji
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2EBEF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def words_of(
    text: str, offsets: Sequence[tuple[int, int]], goes_on: Sequence[bool] | None = None
) -> list[tuple[int, int, int]]:
    """(first token, start, end) of each word with at least one visible character, by the tokens'
    offsets: `text[start:end]` in code points. What is blank belongs to no word. `goes_on`: of each
    token whether it goes on with a word, where the tokenizer says it."""
    found: list[tuple[int, int, int]] = []
    reached = 0  # the end of the token before
    for number, (start, end) in enumerate(offsets):
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if start == end:
            continue  # a blank
        if goes_on is not None:
            glued = goes_on[number]
        else:
            glued = start < reached or (start == reached and _together(text, start))
        if found and glued:
            first, begins, ends = found[-1]
            found[-1] = (first, begins, max(ends, end))
        else:
            found.append((number, start, end))
        reached = max(reached, end)
    return found


def _together(text: str, at: int) -> bool:
    """Whether no word ends between the characters before and at this place."""
    return at > 0 and not (_apart(text[at - 1]) or _apart(text[at]))


@lru_cache(maxsize=4_096)
def _apart(character: str) -> bool:
    if character in _ASCII_MARKS or character.isspace():
        return True
    number = ord(character)
    if any(first <= number <= last for first, last in _ALONE):
        return True
    return unicodedata.category(character).startswith("P")
