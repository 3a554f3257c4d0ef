"""Where exactly does a process die? At the point that CHAOS_CRASH names, after some times past it.

Python imports this by itself at the start of a process that has this folder in its PYTHONPATH; the
services know nothing of it. The exit code is 66.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

CODE = 66
POINT = os.environ.get("CHAOS_CRASH", "")
_left = int(os.environ.get("CHAOS_CRASH_AFTER", "0"))


def die_at_last(*_: object) -> None:
    global _left
    _left -= 1
    if _left < 0:
        os._exit(CODE)


def before(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*args: Any, **more: Any) -> Any:
        die_at_last()
        return function(*args, **more)

    return dying


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def dying(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        die_at_last()
        return result

    return dying


def between_confirm_and_ack(module: ModuleType) -> None:
    """`AckWindow.resolve_tag` is called once every output of a delivery is confirmed."""
    module.AckWindow.resolve_tag = after(module.AckWindow.resolve_tag)


def between_commit_and_ack(module: ModuleType) -> None:
    """The logger's `write` returns after its commit."""
    module.write = after(module.write)  # type: ignore[attr-defined]


def between_outbox_commit_and_publish(module: ModuleType) -> None:
    """The message of a row is made just before it is published."""
    module._message = before(module._message)  # type: ignore[attr-defined]


def between_publish_and_mark(module: ModuleType) -> None:
    """`_mark` writes down what was published."""
    module._mark = before(module._mark)  # type: ignore[attr-defined]


POINTS: dict[str, tuple[str, Callable[[ModuleType], None]]] = {
    "confirm-ack": ("shared.messaging.confirms", between_confirm_and_ack),
    "commit-ack": ("services.logger.store", between_commit_and_ack),
    "outbox-publish": ("shared.storage.outbox", between_outbox_commit_and_publish),
    "publish-mark": ("shared.storage.outbox", between_publish_and_mark),
}


class Patching(importlib.abc.MetaPathFinder):
    """Finds one module as everybody else does and patches it once it is loaded."""

    def __init__(self, name: str, patch: Callable[[ModuleType], None]) -> None:
        self.name = name
        self.patch = patch

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = spec.loader if spec is not None else None
        if isinstance(loader, importlib.machinery.SourceFileLoader):
            execute = loader.exec_module

            def patched(module: ModuleType) -> None:
                execute(module)
                self.patch(module)

            loader.exec_module = patched  # type: ignore[method-assign]
        return spec


if POINT:
    sys.meta_path.insert(0, Patching(*POINTS[POINT]))
