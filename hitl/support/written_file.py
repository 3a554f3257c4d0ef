"""Writes the file that a user has named: whole or not at all, and over nothing but a plain file.

A symbolic link is followed: the file that it names is replaced, and the link stays. A named pipe, a
terminal or /dev/null is written through. A disk, a socket or a folder is refused.
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
    """What is written appears under the name once the block has ended well; else it is as before.

    Raises:
        HitlError: nothing can be written there, and why.
        OSError: the disk is full, a folder may not be written.
    """
    try:
        there: os.stat_result | None = path.stat()
    except FileNotFoundError:  # or a link to what is not there yet
        there = None
    if there is not None and not stat.S_ISREG(there.st_mode):
        if not (stat.S_ISFIFO(there.st_mode) or stat.S_ISCHR(there.st_mode)):
            raise HitlError(f"{path} is no file: name a new one, or a plain file to replace")
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
    """As `open` would have made it: a temporary file is for its owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
