"""Which workflows does an option name, and are there any such?"""

import os

from shared.settings import Settings
from shared.workflows import workflow_paths


def known(names: list[str] | None) -> list[str]:
    """The names, each of a workflow that there is.

    Raises:
        ConfigurationError: of one there is no file.
    """
    if names:
        workflow_paths(Settings.from_environment(os.environ).workflows_dir, names)
    return names or []
