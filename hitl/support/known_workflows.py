"""The workflows that an option names: checked, hinted at, completed by the tab key."""

import os
from glob import escape
from pathlib import Path

from shared.errors import ConfigurationError
from shared.service.settings import Settings
from shared.suggestions import did_you_mean
from shared.workflows.files import workflow_paths


def existing_workflows(names: list[str] | None) -> list[str]:
    """The names, each of a workflow that there is.

    Raises:
        ConfigurationError: of one there is no file.
    """
    if names:
        workflow_paths(Settings.from_environment(os.environ).workflows_dir, names)
    return names or []


def unknown_workflow_hint(names: list[str] | None) -> str:
    """What to add to "nothing was found" where a name may be mistyped; else empty. A workflow
    whose file is gone still has its rows, so that this is no reason to refuse."""
    settings = Settings.from_environment(os.environ)
    files = [path.stem for path in settings.workflows_dir.glob("*.toml")]
    return "".join(
        f" No workflow {name!r} has a file in {settings.workflows_dir}{did_you_mean(name, files)}"
        for name in names or []
        if name not in files
    )


def completed(incomplete: str) -> list[str]:
    """For the tab key: the workflows that have a file, whatever else is wrong here."""
    try:
        folder = Settings.from_environment(os.environ).workflows_dir
    except ConfigurationError:
        return []
    return sorted(path.stem for path in folder.glob(f"{escape(incomplete)}*.toml"))


def paths(names: list[str]) -> list[Path]:
    """The files that are meant: what ends in .toml is a file, the rest are names.

    Raises:
        ConfigurationError: the environment is bad or there is no such workflow.
    """
    settings = Settings.from_environment(os.environ)
    if not names:
        return list(workflow_paths(settings.workflows_dir, settings.workflows).values())
    return [
        Path(name)
        if name.endswith(".toml")
        else workflow_paths(settings.workflows_dir, [name])[name]
        for name in names
    ]
