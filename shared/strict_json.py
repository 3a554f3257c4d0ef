"""Does a JSON text say one thing under each name?

Where an object has a name twice, most readers take the last value and some the first (RFC 8259,
section 4): two programs read two items out of one message, and nobody is told.
"""

import json


class NamedTwice(ValueError):
    """An object has two values under one name, which the text says."""


def refuse_repeated_names(text: bytes) -> None:
    """Of a text that a parser has taken already; what it would refuse is no concern here.

    Raises:
        NamedTwice: an object in it has a name twice.
    """
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=len, parse_float=len)
    except NamedTwice:
        raise
    except (ValueError, RecursionError):
        return


def _once(pairs: list[tuple[str, object]]) -> None:
    names = {name for name, _value in pairs}
    if len(names) != len(pairs):
        given = [name for name, _value in pairs]
        twice = next(name for name in given if given.count(name) > 1)
        raise NamedTwice(f"{twice[:100]!r} is named more than once in one object")
