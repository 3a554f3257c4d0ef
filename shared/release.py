"""Which release of this project is this?"""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NAME = "hitl-pipeline"
_PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def package_version(project: Path = _PROJECT) -> str:
    """What pyproject.toml says beside a checkout's or an image's code, where nothing is installed
    (or something older is); else what was installed."""
    try:
        named = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if named["name"] == NAME:
            return str(named["version"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "unknown"
