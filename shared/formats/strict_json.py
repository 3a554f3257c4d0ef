"""Parses JSON, and refuses a text that does not say the same to every reader.

Where an object has a name twice, most readers take the last value and some the first (RFC 8259,
section 4): two programs read two items out of one message, and nobody is told. And a number beyond
the largest double (1e400) is infinity to some, an error to others (section 6).
"""

import json
from math import isinf


class Unclear(ValueError):
    """It does not; the text says why."""


def refuse_unclear(text: bytes) -> None:
    """Of a text that a parser has taken already; what it would refuse is no concern here.

    Raises:
        Unclear: an object in it has a name twice, or a number is too large.
    """
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=len, parse_float=_number)
    except Unclear:
        raise
    except (ValueError, RecursionError):
        return


def _number(text: str) -> float:
    value = float(text)
    if isinf(value):
        raise Unclear("a number is larger than a double holds (1.8e308): send it as text")
    return value


def _once(pairs: list[tuple[str, object]]) -> None:
    names = {name for name, _value in pairs}
    if len(names) != len(pairs):
        given = [name for name, _value in pairs]
        twice = next(name for name in given if given.count(name) > 1)
        raise Unclear(f"{twice[:100]!r} is named more than once in one object")
