"""Follows the workflow files of this process, when some are added while it runs.

The folder is looked at twice a second. A new file that has stood still between two looks is handed
to the service, which begins with it: queues declared, model loaded. What cannot be used, for
whatever reason, harms no other workflow; it is said, shown, and tried again, less and less often.
So is one whose queues RabbitMQ refuses later on. Of one that is served, guideline and [review]
follow the file; other labels, another model, or no file at all change nothing until the next start.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from shared.answers.base import PLAIN, AnswerSpec
from shared.backoff import pause_after
from shared.errors import HitlError, Overloaded, reason_of
from shared.service.metrics import POLICY_REFUSED
from shared.service.settings import Settings
from shared.workflows.files import (
    SettledFiles,
    Workflow,
    WorkflowFile,
    is_workflow_name,
    read_workflow_file,
    workflow_paths,
)

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0  # its model may be on its way; twice as long after each further failure
DECLARED_SECONDS = 1.0  # its queues may be: whoever may declare them sees the file as we do
MAX_RETRY_SECONDS = 300.0

# Queues, tasks and certificates hang together with these: they wait for the next start.
FIXED = (
    "answer",
    "labels",
    "model",
    "form_schema",
    "overlap",
    "producer_predictions",
    "hypothesis",
)

Begin = Callable[[WorkflowFile], None]
"""Raises `Overloaded` where the workflow cannot be served yet, anything else where it cannot be."""
Change = Callable[[WorkflowFile], None]
"""Takes over what the file of a workflow that is served says now, with the labels and the model of
the start; raises where it cannot: what was there before counts."""


class Workflows(Mapping[str, Workflow]):
    """Workflows by name; whoever iterates sees them as they were then."""

    def __init__(self) -> None:
        self._of: dict[str, Workflow] = {}
        self._changing = threading.Lock()

    def __getitem__(self, name: str) -> Workflow:
        return self._of[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)

    def add(self, workflow: Workflow) -> None:
        """One more, or one as it is now, for whoever asks from now on."""
        with self._changing:
            self._of = {**self._of, workflow.name: workflow}

    def discard(self, name: str) -> None:
        """One less, if it was there."""
        with self._changing:
            self._of = {other: each for other, each in self._of.items() if other != name}


class WorkflowFeed:
    """The workflows of one service; `workflows` may be read from any thread."""

    def __init__(
        self,
        settings: Settings,
        begin: Begin,
        change: Change | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begins with every workflow that is there.

        Raises:
            ConfigurationError: there is no file at all, or none for a workflow of the settings.
        """
        self.workflows = Workflows()
        self._directory = settings.workflows_dir
        self._only = settings.workflows
        self._begin = begin
        self._change = change
        self._now = now
        self._paths = dict(workflow_paths(self._directory, self._only))
        self._files = SettledFiles(self._paths)
        self._refused: dict[str, str] = {}
        self._retry_at: dict[str, float] = {}
        self._failures: Counter[str] = Counter()  # in a row, of the file as it is
        self._reported: dict[str, HitlError] = {}  # by other threads, until the next look
        for name in self._paths:
            self._begin_with(name)

    def problem(self) -> str | None:
        """Why there is nothing to do; None while any workflow is served."""
        if self.workflows:
            return None
        return "no workflow can be served: " + "; ".join(self.refused().values())

    def refuse(self, name: str, why: HitlError) -> None:
        """From any thread: it is served no longer, and begun with again after a while."""
        self.workflows.discard(name)
        self._reported[name] = why

    def follow(self, begin: Begin, stopping: threading.Event) -> None:
        """From now on, on a thread of its own, until `stopping`: `begin` with each new workflow."""
        self._begin = begin
        threading.Thread(
            target=self._watch, args=(stopping,), name="workflows", daemon=True
        ).start()

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(POLL_SECONDS):
            try:
                self.look()
            except Exception:
                # Whatever it was, the service goes on, and so must the watch.
                logger.exception("checking the workflow files failed")

    def look(self) -> None:
        """One look at the folder. Where the settings name the workflows, none can come."""
        self._take_refusals()
        for path in () if self._only else sorted(self._directory.glob("*.toml")):
            if path.stem not in self._paths:
                self._paths[path.stem] = path
                self._files.add(path.stem, path)
        changed = self._files.changed()
        late = [name for name, at in self._retry_at.items() if self._now() >= at]
        due = [name for name in late if self._files.is_settled(name)]  # else it is being written
        for name in changed:
            self._failures.pop(name, None)
        for name in dict.fromkeys((*changed, *due)):
            if not self._paths[name].exists():
                self._file_deleted(name)
            elif name in self.workflows:
                self._follow_file(self.workflows[name])
            else:
                self._begin_with(name)

    def refused(self) -> dict[str, str]:
        """The workflows that are not served as their files say, and why; from any thread."""
        told = {name: reason_of(why) for name, why in tuple(self._reported.items())}
        return {**self._refused, **told}

    def __contains__(self, name: object) -> bool:
        """Whether there is such a workflow, even if it is not served: its items wait for it."""
        return isinstance(name, str) and (name in self.workflows or self.has_file(name))

    def spec_of(self, name: str) -> AnswerSpec:
        """What a workflow asks for; one that is not served is taken for a plain one."""
        served = self.workflows.get(name)
        return PLAIN if served is None else served.spec

    def has_file(self, name: str) -> bool:
        """Whether there is a file for it that this service may serve."""
        possible = name in self._only if self._only else is_workflow_name(name)
        return possible and (self._directory / f"{name}.toml").is_file()

    def _take_refusals(self) -> None:
        """Of what was served, and is no longer."""
        for name, why in tuple(self._reported.items()):
            self.workflows.discard(name)  # it may have been begun with meanwhile
            self._refuse(name, why)
            self._reported.pop(name)

    def _begin_with(self, name: str) -> None:
        try:
            written = read_workflow_file(self._paths[name])
            self._begin(written)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic of a library in Rust is no Exception
            self._refuse(name, error)
            return
        self._accepted(name)
        self._retry_at.pop(name, None)
        self._failures.pop(name, None)
        self.workflows.add(written.workflow)
        logger.info("workflow served", extra={"workflow": name})

    def _follow_file(self, served: Workflow) -> None:
        about: dict[str, object] = {"workflow": served.name}
        kept = {name: getattr(served, name) for name in FIXED}
        try:
            written = read_workflow_file(self._paths[served.name])
            now = written.workflow.model_copy(update=kept)
            if self._change is not None:
                self._change(written.model_copy(update={"workflow": now}))
        except Exception as error:
            self._show_refused(served.name, reason_of(error))
            logger.error(
                "workflow file rejected; the previous version stays in effect",
                extra={**about, "problem": reason_of(error)},
            )
            return
        self._accepted(served.name)
        if now != served:
            self.workflows.add(now)
            logger.info("workflow file reloaded: guideline and [review] updated", extra=about)
        if now != written.workflow:
            logger.warning(
                "labels, model or answer changed in a workflow file: restart all services to apply"
                " them",
                extra={
                    **about,
                    **{
                        f"{key}_until_then": value
                        for key, value in kept.items()
                        if value != getattr(written.workflow, key)
                    },
                },
            )

    def _refuse(self, name: str, error: BaseException) -> None:
        soon = isinstance(error, Overloaded)
        first, most = (
            (DECLARED_SECONDS, RETRY_SECONDS) if soon else (RETRY_SECONDS, MAX_RETRY_SECONDS)
        )
        self._retry_at[name] = self._now() + pause_after(self._failures[name], first, most)
        self._failures[name] += 1
        problem = reason_of(error)
        if self._show_refused(name, problem):
            said = {"workflow": name, "problem": problem}
            if soon:
                logger.warning("workflow not ready yet; retrying", extra=said)
            else:
                # Of an error that nobody has foreseen, where it came from is worth a look.
                unforeseen = None if isinstance(error, HitlError) else error
                logger.error(
                    "workflow rejected; the others are still served",
                    extra=said,
                    exc_info=unforeseen,
                )

    def _file_deleted(self, name: str) -> None:
        self._retry_at.pop(name, None)
        if name in self.workflows:
            gone = "workflow file deleted; the workflow is served until the next restart"
            self._show_refused(name, gone)
            logger.warning(gone, extra={"workflow": name})
        elif name in self._refused:
            self._accepted(name)

    def _accepted(self, name: str) -> None:
        self._refused.pop(name, None)
        POLICY_REFUSED.labels(name).set(0)

    def _show_refused(self, name: str, problem: str) -> bool:
        """Whether that differs from what was shown before."""
        POLICY_REFUSED.labels(name).set(1)
        before, self._refused[name] = self._refused.get(name), problem
        return before != problem
