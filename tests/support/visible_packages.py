"""The packages that our extras bring, and no others: links to what is installed here."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

from shared.release import ROOT


def link_distribution(name: str, packages: Path) -> None:
    """Make an installed package visible in a folder of its own; nothing if it is not installed."""
    try:
        installed = distribution(name)
    except PackageNotFoundError:  # not for this platform
        return
    for top in {file.parts[0] for file in installed.files or () if ".." not in file.parts}:
        link = packages / top
        if top != "__pycache__" and not link.exists():
            link.symlink_to(Path(str(installed.locate_file(top))))


def canonical(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project_requirements(extras: set[str]) -> list[Requirement]:
    """What pyproject.toml asks for: the dependencies of all, and those of the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    # An extra may consist of others: "hitl-pipeline[inference]".
    of_ours = [each for each in requirements if each.name == project["name"]]
    inner = extras.union(*(each.extras for each in of_ours))
    if inner != extras:
        return project_requirements(inner)
    return [each for each in requirements if each.name != project["name"]]


def closure(extras: set[str]) -> set[str]:
    """All distributions that installing these extras brings, by canonical name."""
    found: set[str] = set()
    waiting = project_requirements(extras)
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        found.add(canonical(wanted.name))
        try:
            lines = requires(wanted.name) or []
        except PackageNotFoundError:  # not for this platform
            continue
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({"extra": extra}) for extra in (wanted.extras or {""})
            ):
                waiting.append(requirement)
    return found
