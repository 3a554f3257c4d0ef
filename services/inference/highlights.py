"""The words of a text, the text without each of them, and how much each counted.

Pure. Occlusion (Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks"): the
text is scored again without each word; what the label's log-odds lose is the word's weight.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

MAX_WORDS = 60  # one more pass of the model for each
MAX_CHARACTERS = 1_000  # what a pass costs
_NEVER_CERTAIN = 1e-6  # a probability of 0 or 1 would weigh infinitely
# Scripts that are written without spaces: each character stands for itself.
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_LETTER = rf"(?:[^\W{_ALONE}]|[\u0300-\u036f\u0590-\u05c7\u064b-\u0652\u0900-\u0d4d])"
_EMOJI = "[\u2600-\u27bf\U0001f000-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"  # with its colour
_WORD = re.compile(
    rf"[{_ALONE}]"
    rf"|{_LETTER}+(?:['\u2019\-]{_LETTER}+)*"  # don't, so-called
    r"|[\U0001f1e6-\U0001f1ff]{2}"  # a flag
    rf"|{_EMOJI}(?:\u200d{_EMOJI})*"  # joined: a family
    r"|[:;=][-']?[()DPp|](?!\w)"  # :-)
)


class Span(NamedTuple):
    """`text[start:end]`, in code points."""

    start: int
    end: int


def words(text: str) -> list[Span] | None:
    """The words of a text in reading order: what is between spaces and punctuation, an emoji, a
    smiley. None for a text that is too long for each of them to be weighed."""
    if len(text) > MAX_CHARACTERS:
        return None
    found = [Span(*match.span()) for match in _WORD.finditer(text)]
    return found if len(found) <= MAX_WORDS else None


def without(text: str, word: Span) -> str:
    """The text without one word, and without a second space where it stood."""
    before, after = text[: word.start], text[word.end :]
    if after[:1].isspace() and (not before or before[-1:].isspace()):
        after = after[1:]
    return before + after


def weights(whole: float, lacking: Sequence[float]) -> list[float]:
    """What each word adds to the label's log-odds, from the label's probability for the `whole`
    text and for the text that lacks each word. Log-odds, because probabilities near 1 hardly move.
    """
    return [round(_log_odds(whole) - _log_odds(each), 4) for each in lacking]


def _log_odds(probability: float) -> float:
    within = min(max(probability, _NEVER_CERTAIN), 1 - _NEVER_CERTAIN)
    return math.log(within / (1 - within))
