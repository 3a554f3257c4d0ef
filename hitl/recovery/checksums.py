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
    """Checks that every file is complete and unchanged.

    Raises:
        HitlError: it is not a backup, or a file is missing or damaged.
    """
    try:
        lines = (folder / SUMS).read_text().removesuffix("\n").split("\n")
        for line in lines:
            digest, name = line.split("  ", 1)
            if _digest(folder / name) != digest:
                raise HitlError(f"{folder / name} is damaged: its checksum differs")
    except (OSError, ValueError) as error:
        raise HitlError(f"{folder} is not a complete backup: {error}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
