"""The workflows that an option names: checks, hints, shell completion."""

import os
from glob import escape
from pathlib import Path

from shared.errors import ConfigurationError
from shared.service.settings import Settings
from shared.suggestions import did_you_mean
from shared.topology import topology
from shared.workflows.files import workflow_paths


def existing_workflows(names: list[str] | None) -> list[str]:
    """The names, checked.

    Raises:
        ConfigurationError: one has no workflow file.
    """
    if names:
        workflow_paths(Settings.from_environment(os.environ).workflows_dir, names)
    return names or []


def configured_queues() -> list[str]:
    """The queues and streams of the configured workflows.

    Raises:
        ConfigurationError: the settings are wrong, or there is no workflow.
    """
    settings = Settings.from_environment(os.environ)
    names = tuple(workflow_paths(settings.workflows_dir, settings.workflows))
    shape = topology(names, settings.retry_delays_seconds)
    return [queue.name for queue in (*shape.queues, *shape.streams)]


def unknown_workflow_hint(names: list[str] | None) -> str:
    """What to add to "nothing was found" where a name may be mistyped; else empty. A workflow may
    have rows without a file, so that this is only a hint."""
    settings = Settings.from_environment(os.environ)
    files = [path.stem for path in settings.workflows_dir.glob("*.toml")]
    return "".join(
        f" No workflow {name!r} has a file in {settings.workflows_dir}{did_you_mean(name, files)}"
        for name in names or []
        if name not in files
    )


def completed(incomplete: str) -> list[str]:
    """The workflows that have a file, for shell completion; never an error."""
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
