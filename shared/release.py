"""Where this project's files lie, and which release they are."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NAME = "hitl-pipeline"
# Of a checkout, an image or an installed wheel: it has hitl/, services/, shared/ and deploy/.
ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = ROOT / "deploy" / "workflows"
_PROJECT = ROOT / "pyproject.toml"  # the wheel alone has none


def is_wheel() -> bool:
    """Whether ROOT is an installer's, who replaces it with each upgrade: we write nothing there."""
    return not _PROJECT.exists()


def package_version() -> str:
    """What pyproject.toml says beside a checkout's or an image's code, where nothing is installed
    (or something older is); else what was installed."""
    if not is_wheel():
        return str(tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]["version"])
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "unknown"
