"""The words of the pages: one file per language, shared with the card."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_WORDS = Path(__file__).parent / "assets" / "words"
_FALLBACK = "en"
Words = Mapping[str, str]


@cache
def pages() -> dict[str, Words]:
    """The words of the pages by language code."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["pages"]
        for path in sorted(_WORDS.glob("*.json"))
    }


def chosen(accept_language: str) -> Words:
    """The words for an Accept-Language header (RFC 9110, 12.5.4): browsers list the best first."""
    known = pages()
    for wanted in accept_language.split(","):
        code = wanted.split(";")[0].strip()[:2].lower()
        if code in known:
            return known[code]
    return known[_FALLBACK]
