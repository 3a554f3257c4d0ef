"""The version of its model that a workflow runs, and where its files lie.

`<folder>/<workflow>/<version>/` holds a version, `<folder>/<workflow>/current.json` names the one
in use. `services.feedback.registry.versions` writes both, the inference workers follow.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConfigurationError, problems_of

BASE_VERSION = "base"  # the workflow's own `model`, which lies in no folder of ours
CURRENT = "current.json"
VERSION_NAME = r"^v[1-9][0-9]{0,8}$"
Share = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Shadow(_Part):
    """A candidate that scores a share of the items without deciding any."""

    version: str
    folder: str
    model_version: str
    share: Share


class Current(_Part):
    """What a workflow's `current.json` says. `folder` is relative to the workflow's, null for the
    workflow's own model. `model_version` is what the worker must find in it."""

    version: str
    folder: str | None
    model_version: str | None
    previous: str | None = None
    promoted_at: datetime
    by: str
    shadow: Shadow | None = None


def read_current(content: bytes) -> Current:
    """What the file says.

    Raises:
        ConfigurationError: it is no such file.
    """
    try:
        return Current.model_validate_json(content)
    except ValidationError as error:
        raise ConfigurationError(f"{CURRENT}: {problems_of(error, 'file')}") from None


def folder_of(models_dir: Path, workflow: str, folder: str) -> Path:
    """Where a version lies.

    Raises:
        ConfigurationError: that is outside the workflow's folder.
    """
    root = (models_dir / workflow).resolve()
    found = (root / folder).resolve()
    if root not in found.parents:
        raise ConfigurationError(f"{CURRENT}: {folder!r} is outside {root}")
    return found
