"""Checksums of a backup's files, as `sha256sum -c` reads them."""

import hashlib
from pathlib import Path

from shared.errors import HitlError

SUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """One line for each file of the folder."""
    lines = [f"{_digest(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(lines))


def verify(folder: Path) -> None:
    """Returns where every file is there, as it was.

    Raises:
        HitlError: it is no backup, or not a whole one.
    """
    try:
        lines = (folder / SUMS).read_text().removesuffix("\n").split("\n")
        for line in lines:
            digest, name = line.split("  ", 1)
            if _digest(folder / name) != digest:
                raise HitlError(f"{folder / name} is damaged: its checksum is another")
    except (OSError, ValueError) as error:
        raise HitlError(f"{folder} is no whole backup: {error}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
