"""Text and ages as a terminal may show them, and the last line of a command that cannot go on."""

import sys
from typing import NoReturn

import typer

_JOINERS = "\u200c\u200d"
_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def printable(line: str) -> str:
    """Without what would speak to the terminal: a producer's text may hold anything. What joins
    letters and emojis stays."""
    return "".join(one if one.isprintable() or one in _JOINERS else "\ufffd" for one in line)


def readable(seconds: float) -> str:
    """An age for people."""
    for unit, size in _UNITS.items():
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def refuse(problem: str, *, code: int = 1) -> NoReturn:
    """End the command with one line that says why."""
    print(problem, file=sys.stderr)
    raise typer.Exit(code)
