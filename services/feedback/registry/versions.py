"""The versions of a workflow's model, and who put which one in use, when and why.

A folder a version, `current.json` for the one in use, `history.jsonl` for every change of it. The
inference workers follow (`shared.models.current`).
"""

import fcntl
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from services.feedback.registry.receipt import RECEIPT, Receipt, changed_files, read_receipt
from shared.errors import ConfigurationError
from shared.formats.json_lines import append, lines_of, whole_lines
from shared.models.current import (
    BASE_VERSION,
    CURRENT,
    VERSION_NAME,
    Current,
    Shadow,
    read_current,
)

logger = logging.getLogger(__name__)

HISTORY = "history.jsonl"
UNFINISHED = ".unfinished"
_NAME = re.compile(VERSION_NAME)


class Change(BaseModel):
    """A line of the history."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: str
    action: Literal["registered", "promoted", "rolled back", "shadow", "shadow ended"]
    version: str
    previous: str | None = None
    forced: str | None = None  # the gates that said no, and why they were overruled
    share: float | None = None


class Registry:
    """The versions of one workflow."""

    def __init__(self, models_dir: Path, workflow: str) -> None:
        self.workflow = workflow
        self.folder = models_dir / workflow

    @property
    def unfinished(self) -> Path:
        """Where a training keeps what it needs to go on after an interruption."""
        return self.folder / UNFINISHED

    def versions(self) -> list[str]:
        """The names of all versions, oldest first."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        names = [path.name for path in found if _NAME.match(path.name) and path.is_dir()]
        return sorted(names, key=lambda name: int(name[1:]))

    def receipt(self, version: str) -> Receipt:
        """A version's receipt.

        Raises:
            ConfigurationError: there is no such version, and which there are.
        """
        if version not in self.versions():
            listed = ", ".join([BASE_VERSION, *self.versions()])
            raise ConfigurationError(
                f"workflow {self.workflow} has no model version {version!r}; it has {listed}"
            )
        return read_receipt(self.folder / version)

    def current(self) -> Current | None:
        """What is in use; None where nothing was ever promoted.

        Raises:
            ConfigurationError: the file cannot be understood.
        """
        try:
            return read_current((self.folder / CURRENT).read_bytes())
        except FileNotFoundError:
            return None

    def current_version(self) -> str:
        """Its name."""
        current = self.current()
        return BASE_VERSION if current is None else current.version

    def history(self) -> list[Change]:
        """Every change, oldest first; an unreadable line is logged and skipped."""
        path = self.folder / HISTORY
        content = path.read_bytes() if path.is_file() else b""
        found: list[Change] = []
        for number, line in whole_lines(lines_of(content), str(path)):
            try:
                found.append(Change.model_validate_json(line))
            except ValidationError:
                logger.warning("%s, line %d: unreadable model change skipped", path, number)
        return found

    def taught(self, version: str) -> frozenset[str]:
        """The ids of all items that a version or one that it stems from was trained on."""
        found: set[str] = set()
        while version != BASE_VERSION:
            receipt = self.receipt(version)
            found |= {source.item_id for source in receipt.trained_on}
            version = receipt.parent.version
        return frozenset(found)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder for a version in the making; removed where it is not registered in the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".staging-") as name:
            yield Path(name)

    def next_version(self) -> str:
        """The name that comes next."""
        versions = self.versions()
        return f"v{int(versions[-1][1:]) + 1 if versions else 1}"

    def register(self, staged: Path, receipt: Receipt, by: str) -> None:
        """Make a staged folder the version that its receipt names."""
        (staged / RECEIPT).write_text(receipt.model_dump_json(indent=1) + "\n", encoding="utf-8")
        staged.chmod(0o755)  # workers may be other users
        os.rename(staged, self.folder / receipt.version)
        self._record(
            Change(at=receipt.created_at, by=by, action="registered", version=receipt.version)
        )

    def promote(
        self,
        version: str,
        *,
        by: str,
        at: datetime,
        forced: str | None = None,
        action: Literal["promoted", "rolled back"] = "promoted",
        over: str | None = None,
    ) -> Current:
        """Put a version in use; its shadow, or that of the one before, ends. `over`: the version
        that it was found to be no worse than, if any.

        Raises:
            ConfigurationError: there is no such version, its files have changed, it is in use, or
                another than `over` is.
        """
        with self._writing():
            before = self.current_version()
            if version == before:
                raise ConfigurationError(f"{version} is in use already")
            if over not in (None, before):
                raise ConfigurationError(f"{before} is in use by now, not {over}: compare again")
            folder = model_version = None
            if version != BASE_VERSION:
                receipt = self._whole(version)
                folder, model_version = receipt.folder, receipt.model_version
            current = Current(
                version=version,
                folder=folder,
                model_version=model_version,
                previous=before,
                promoted_at=at,
                by=by,
            )
            self._write(current)
            self._record(
                Change(at=at, by=by, action=action, version=version, previous=before, forced=forced)
            )
        return current

    def rollback(self, *, by: str, at: datetime) -> Current:
        """Back to the version before the one in use. It goes back one step each time.

        Raises:
            ConfigurationError: there is nothing to go back to.
        """
        with self._writing():
            stack = self._stack()
        if len(stack) < 2:
            raise ConfigurationError(f"nothing to roll back: {self.workflow} uses its base model")
        return self.promote(stack[-2], by=by, at=at, action="rolled back", over=stack[-1])

    def shadow(self, version: str | None, share: float, *, by: str, at: datetime) -> Current:
        """Let a version score a share of the items beside the one in use; None ends that.

        Raises:
            ConfigurationError: there is no such version, its files have changed, or it is in use.
        """
        with self._writing():
            current = self.current() or Current(
                version=BASE_VERSION, folder=None, model_version=None, promoted_at=at, by=by
            )
            shadow = None
            if version is None:
                if current.shadow is None:
                    raise ConfigurationError("no shadow version is running")
                change = Change(at=at, by=by, action="shadow ended", version=current.shadow.version)
            else:
                if version in (current.version, BASE_VERSION):
                    raise ConfigurationError(f"{version} is in use or the base model: no shadow")
                receipt = self._whole(version)
                shadow = Shadow(
                    version=version,
                    folder=receipt.folder,
                    model_version=receipt.model_version,
                    share=share,
                )
                change = Change(at=at, by=by, action="shadow", version=version, share=share)
            changed = current.model_copy(update={"shadow": shadow})
            self._write(changed)
            self._record(change)
        return changed

    def _whole(self, version: str) -> Receipt:
        receipt = self.receipt(version)
        changed = changed_files(self.folder / receipt.folder, receipt.files)
        if changed:
            raise ConfigurationError(
                f"{version} is not what was registered: {', '.join(changed)} changed or missing"
            )
        return receipt

    def _stack(self) -> list[str]:
        """The history read as a stack: a promotion puts a version on it, a rollback takes one."""
        stack: list[str] = []
        for change in self.history():
            if change.action == "promoted":
                stack = (
                    [*stack, change.version] if stack else [change.previous or "", change.version]
                )
            elif change.action == "rolled back":
                stack = stack[:-1]
        return stack

    def _record_what_was_lost(self) -> None:
        """A process that died between a change and its record: who and when is in both files."""
        current, stack = self.current(), self._stack()
        if current is None or current.version == (stack[-1] if stack else BASE_VERSION):
            return
        back = current.version in stack[-2:-1] and current.previous == stack[-1]
        self._record(
            Change(
                at=current.promoted_at,
                by=current.by,
                action="rolled back" if back else "promoted",
                version=current.version,
                previous=current.previous,
            )
        )

    def _write(self, current: Current) -> None:
        """Replaced as a whole: a worker reads the old file or the new one."""
        written = self.folder / f".{CURRENT}.new"
        with written.open("w", encoding="utf-8") as file:
            file.write(current.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        written.chmod(0o644)
        os.replace(written, self.folder / CURRENT)

    def _record(self, change: Change) -> None:
        append(self.folder / HISTORY, change.model_dump(mode="json", exclude_none=True))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One change at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".changes").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._record_what_was_lost()
            yield
