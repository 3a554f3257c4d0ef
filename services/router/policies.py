"""The live policy of each workflow: the last good one that its file has had."""

import logging
from pathlib import Path

from services.router.policy import Policy
from shared.errors import ConfigurationError
from shared.workflows.files import WorkflowFile

logger = logging.getLogger(__name__)


class Policies:
    """What `shared.workflows.feed` hands over; `policy` may be asked from any thread."""

    def __init__(self, directory: Path, *, salted: bool = True) -> None:
        """`directory` is where the files lie; `salted` says that there is a secret to draw an audit
        panel with."""
        self._directory = directory
        self._salted = salted
        self._of: dict[str, Policy] = {}

    def take(self, content: WorkflowFile) -> None:
        """From now on the policy in this file counts.

        Raises:
            ConfigurationError: lists what is wrong with it; the one before stays.
        """
        name = content.workflow.name
        path = self._directory / f"{name}.toml"
        policy = Policy.of_file(content, path)
        if not self._salted and (policy.panel.rate > 0 or policy.mode == "certified"):
            key = "panel.rate" if policy.panel.rate > 0 else "mode"
            raise ConfigurationError(
                f"{path}: {key}: an audit panel is drawn with a secret salt; set HITL_PANEL_SALT"
            )
        before = self._of.get(name)
        self._of[name] = policy
        if before is not None:
            versions = {"policy_version": policy.version, "before": before.version}
            logger.info("policy in use", extra={"workflow": name, **versions})

    def policy(self, workflow: str) -> Policy | None:
        """The policy to route by now; None for a workflow that is not served here."""
        return self._of.get(workflow)

    def certifies(self) -> bool:
        """Does any workflow wait for a certificate?"""
        return any(policy.mode == "certified" for policy in tuple(self._of.values()))
