"""The policies in use, by workflow: follows edits of the files while the service runs.

Each workflow's file is looked at twice a second and taken over when it has stood still between two
looks, so that a half-written file never routes. A file that is invalid or gone changes nothing: the
last good policy stays.
"""

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from services.router.policy import Policy
from shared.errors import ConfigurationError, reason_of
from shared.service.metrics import POLICY_REFUSED
from shared.workflows.files import SettledFiles, Workflow, read_workflow_file

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.5


class PolicyFeed:
    """The live policy of each workflow; `policy` may be asked from any thread.

    The labels are those of the start: other ones wait for the next start.
    """

    def __init__(
        self, directory: Path, workflows: Mapping[str, Workflow], *, salted: bool = True
    ) -> None:
        """Reads every file. `salted` says that there is a secret to draw an audit panel with.

        Raises:
            ConfigurationError: lists the problems of every invalid file.
        """
        self._directory = directory
        self._paths = {name: directory / f"{name}.toml" for name in workflows}
        self._labels = {name: workflow.labels for name, workflow in workflows.items()}
        self._salted = salted
        self._files = SettledFiles(self._paths)
        self._policies: dict[str, Policy] = {}
        self._refused: dict[str, str] = {}
        problems: list[str] = []
        for name in self._paths:
            try:
                self._policies[name] = self._read(name)
            except ConfigurationError as error:
                problems.append(str(error))
            POLICY_REFUSED.labels(name).set(0)
        if problems:
            raise ConfigurationError("\n".join(problems))

    def add(self, workflow: Workflow) -> None:
        """One more workflow, by its file.

        Raises:
            ConfigurationError: lists what is wrong with its policy; nothing is routed by it.
        """
        name = workflow.name
        self._paths[name] = self._directory / f"{name}.toml"
        self._labels[name] = workflow.labels
        self._files.add(name, self._paths[name])
        self._policies[name] = self._read(name)

    def policy(self, workflow: str) -> Policy | None:
        """The policy to route by now; None for a workflow that is not served here."""
        return self._policies.get(workflow)

    def refused(self) -> dict[str, str]:
        """The workflows whose file as it is now cannot be used, and why; from any thread."""
        return dict(self._refused)

    def certifies(self) -> bool:
        """Does any workflow wait for a certificate?"""
        return any(policy.mode == "certified" for policy in tuple(self._policies.values()))

    def follow(self, stopping: threading.Event) -> None:
        """From now on, on a thread of its own, until `stopping`: takes over what is edited."""
        threading.Thread(target=self._watch, args=(stopping,), name="policies", daemon=True).start()

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(POLL_SECONDS):
            try:
                self.look()
            except Exception:
                # Whatever it was, the routing goes on, and so must the watch.
                logger.exception("looking at the policy files failed")

    def look(self) -> None:
        """One look at every file."""
        for name in self._files.changed():
            if name in self._policies:  # else it was refused when it was added
                self._take_over(name)

    def _take_over(self, name: str) -> None:
        before = self._policies[name].version
        try:
            policy = self._read(name)
        except Exception as error:
            self._refused[name] = reason_of(error)
            POLICY_REFUSED.labels(name).set(1)
            logger.error(
                "policy refused; the last good one stays",
                extra={
                    "workflow": name,
                    "problem": self._refused[name],
                    "policy_version": before,
                },
            )
            return
        self._refused.pop(name, None)
        POLICY_REFUSED.labels(name).set(0)
        self._policies[name] = policy
        logger.info(
            "policy in use",
            extra={"workflow": name, "policy_version": policy.version, "before": before},
        )

    def _read(self, name: str) -> Policy:
        path = self._paths[name]
        policy = read_policy(path, self._labels[name])
        if policy.panel.rate > 0 and not self._salted:
            raise ConfigurationError(
                f"{path}: panel.rate: an audit panel needs a secret salt; set HITL_PANEL_SALT"
            )
        if policy.mode == "certified" and not self._salted:
            raise ConfigurationError(
                f"{path}: mode: a certificate needs an audit panel, drawn with a secret salt; "
                "set HITL_PANEL_SALT"
            )
        return policy


def read_policy(path: Path, labels: tuple[str, ...] | None = None) -> Policy:
    """The policy in a workflow's file, for these labels or else for those in the same file.

    Raises:
        ConfigurationError: every problem, one a line, with the file in front.
    """
    content = read_workflow_file(path)
    try:
        return Policy.of_file(content, labels)
    except ConfigurationError as error:
        listed = "\n".join(f"{path}: {problem}" for problem in str(error).split("\n"))
        raise ConfigurationError(listed) from None
