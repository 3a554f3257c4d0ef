"""Reads CSV strictly: a file that is no table is refused with the line where it stops being one.

A lenient reader takes the lines after an unclosed quote into one cell, the last of two columns of
one name, and a cell too many as part of the one before: each time, data is gone without a word.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.errors import HitlError

_BOM = b"\xef\xbb\xbf"


class NotATable(HitlError):
    """It cannot be read any further; the text says where and why."""


class Row(NamedTuple):
    """A row's cells by column, or what is wrong with it alone; `number` is the line it ends at."""

    number: int
    cells: dict[str, str]
    problem: str | None = None


class Table:
    """A file's columns, and its rows one by one."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Reads the header. What is not UTF-8 comes out as `surrogateescape` has it.

        Raises:
            NotATable: it has none, or one that names a column twice.
        """
        csv.field_size_limit(1 << 27)  # how long a text may be is decided elsewhere
        self._rows = csv.reader(_texts(lines), strict=True)
        self.columns = [name.strip() for name in self._next() or ()]
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise NotATable(f"line 1: {len(twice)} columns are named twice: {', '.join(twice)}")

    def __iter__(self) -> Iterator[Row]:
        while (row := self._next()) is not None:
            number = self._rows.line_num
            if not row:
                continue
            cells = dict(zip(self.columns, row, strict=False))
            if len(row) != len(self.columns):
                wanted = len(self.columns)
                yield Row(number, cells, f"{len(row)} cells where the header has {wanted}")
            elif any("\0" in cell for cell in row):
                yield Row(number, cells, "a NUL character, which no text may hold")
            else:
                yield Row(number, cells)

    def _next(self) -> list[str] | None:
        began = self._rows.line_num + 1
        try:
            return next(self._rows, None)
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                why = "a quote opens here and is never closed"
            elif self._rows.line_num > began:
                why = (
                    "a quote opens here, and what follows the next one, in line "
                    f"{self._rows.line_num}, is no comma"
                )
            else:
                why = str(error)
            raise NotATable(
                f"line {began}: {why}; a quote within a cell is written twice, and the cell in "
                "quotes"
            ) from None


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise NotATable("line 1: this is UTF-16: save it as UTF-8")
            line = line.removeprefix(_BOM)
        yield line.decode("utf-8", "surrogateescape")
