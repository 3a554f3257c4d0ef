"""Reads and writes JSON Lines: one JSON text a line, in files whose writer may have died in a line.

A line ends at a line feed and nowhere else: a text may hold U+2028, U+2029 or U+0085, at which
`str.splitlines` cuts. A line that is only the beginning of a JSON text is said and left out; what
is appended later begins on a line of its own.
"""

import errno
import json
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from pydantic_core import from_json

logger = logging.getLogger(__name__)

# Other people's readers cut here. Within JSON only a string can hold them.
_ESCAPED = {ord(mark): f"\\u{ord(mark):04x}" for mark in "\x85\u2028\u2029"}


class Line(NamedTuple):
    """A line that is not blank, without its end; the first of a file is number 1."""

    number: int
    content: bytes


def lines_of(content: bytes) -> list[bytes]:
    """The lines of a whole file, without their ends."""
    return content.removesuffix(b"\n").split(b"\n")


def numbered(lines: Iterable[bytes]) -> Iterator[Line]:
    """The lines that are not blank."""
    for number, raw in enumerate(lines, start=1):
        content = raw.strip(b" \t\r\n")
        if number == 1:
            content = content.removeprefix(b"\xef\xbb\xbf")  # some editors begin with a BOM
        if content:
            yield Line(number, content)


def whole_lines(lines: Iterable[bytes], name: str) -> Iterator[Line]:
    """The same without those half-written, which are said; `name` is the file's. Whether the others
    are what they should be, the caller finds out."""
    for found in numbered(lines):
        if is_torn(found.content):
            logger.warning("%s, line %d: skipped, because it is half-written", name, found.number)
        else:
            yield found


def is_torn(content: bytes) -> bool:
    """Whether it is the beginning of a JSON object, and no more."""
    if not content.startswith(b"{"):
        return False
    try:
        from_json(content.decode("utf-8", "ignore"))  # the last character may be torn as well
    except ValueError as error:
        return str(error).startswith("EOF while parsing")
    return False


def line(record: object, default: Callable[[Any], object] | None = None) -> str:
    """The record as a line, its end included; whoever splits at more than line feeds reads it,
    too. `default` as in `json.dumps`."""
    return json.dumps(record, ensure_ascii=False, default=default).translate(_ESCAPED) + "\n"


@contextmanager
def appending(path: Path, *, mode: int = 0o644) -> Iterator[TextIO]:
    """The file, made where there is none, for further lines: the first of them begins on a line of
    its own, whatever was left half-written."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode)
    with os.fdopen(descriptor, "a", encoding="utf-8", newline="\n") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):  # nobody could read it again
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if about.st_size and os.pread(descriptor, 1, about.st_size - 1) != b"\n":
            file.write("\n")
        yield file


def append(path: Path, record: object) -> None:
    """Adds one line to the file; it is on the disk on return."""
    with appending(path) as file:
        file.write(line(record))
        file.flush()
        os.fsync(file.fileno())
