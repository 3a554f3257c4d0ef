"""Suggests the name that was meant by a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """ "; did you mean 'this'?", to stand behind a refusal; empty where nothing is close."""
    meant = get_close_matches(typed, list(known))
    return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""
