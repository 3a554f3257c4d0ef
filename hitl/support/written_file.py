"""Writes a file that a user has named: completely or not at all, replacing only a plain file.

A symbolic link is followed: its target is replaced, and the link stays. A named pipe, a terminal or
/dev/null is written to directly. A disk, a socket or a folder is refused.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from shared.errors import HitlError


@contextmanager
def written_file(path: Path) -> Iterator[BinaryIO]:
    """The file appears once the block has ended without an error; else nothing changes.

    Raises:
        HitlError: it is not a plain file.
        OSError: the disk is full, or the folder is not writable.
    """
    try:
        there: os.stat_result | None = path.stat()
    except FileNotFoundError:  # or a link to what is not there yet
        there = None
    if there is not None and not stat.S_ISREG(there.st_mode):
        if not (stat.S_ISFIFO(there.st_mode) or stat.S_ISCHR(there.st_mode)):
            raise HitlError(f"{path} is not a plain file: name a new file, or one to replace")
        with path.open("wb") as through:
            yield through
        return
    target = Path(os.path.realpath(path))
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, _usual_mode() if there is None else stat.S_IMODE(there.st_mode))
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        for folder in made:
            with suppress(OSError):  # something is in it
                folder.rmdir()
        raise


def _usual_mode() -> int:
    """The mode of a new file: a temporary file is readable by its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
