"""Text and ages for a terminal, and the end of a command that cannot continue."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

_JOINERS = "\u200c\u200d"
_UNITS = {"d": 86_400, "h": 3_600, "m": 60}


def printable(line: str) -> str:
    """The text without control characters: a producer's may hold terminal escapes. Characters that
    join letters or emojis stay."""
    return "".join(one if one.isprintable() or one in _JOINERS else "\ufffd" for one in line)


def readable(seconds: float) -> str:
    """An age for people."""
    for unit, size in _UNITS.items():
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@contextmanager
def reader_may_stop() -> Iterator[None]:
    """Ends the command without a complaint once the reader of stdout has closed it (`| head`)."""
    try:
        yield
    except BrokenPipeError:
        # Python would complain once more while it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def refuse(problem: str, *, code: int = 1) -> NoReturn:
    """Ends the command with this line on stderr."""
    print(problem, file=sys.stderr)
    raise typer.Exit(code)
