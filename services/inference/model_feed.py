"""The models in use, by workflow: follows promotions while the service runs.

`current.json` is looked at twice a second. A new version is loaded on this thread while the worker
goes on scoring with the old one, and then taken over by one assignment: a batch that has begun ends
with the model that it began with. What cannot be used changes nothing: the last good one stays.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from services.inference.handler import Candidate, Scorer, Served
from services.inference.loading import task_of
from services.inference.proving import SUFFIX
from shared.errors import ConfigurationError, reason_of
from shared.models.current import BASE_VERSION, CURRENT, Current, Shadow, folder_of, read_current
from shared.models.task import Task
from shared.service.metrics import (
    CONFIDENCE,
    MODEL_FILES_INFO,
    MODEL_INFO,
    MODEL_REFUSED,
    PREDICTIONS,
)
from shared.workflows.files import Workflow

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0  # for a version that was refused: its files may still be on their way
_PROBE = "A first text, to see whether it can be scored at all."
_Version = tuple[str | None, str | None]
"""Folder and model version, as `current.json` has them."""
_OWN: _Version = (None, None)


class Loaded(Scorer, Protocol):
    """A model that also says which files it is made of, and how texts go through it together."""

    @property
    def sha256(self) -> str: ...

    @property
    def batches(self) -> str: ...


# A folder or model id, and what it is to be loaded for -> a loaded model.
Load = Callable[[str, Task], Loaded]


@dataclass
class _State:
    workflow: Workflow
    served: Served
    model: Loaded  # that of `served`
    seen: bytes | None
    live: _Version
    shadow: _Version | None = None
    retry_at: float | None = None
    problems: dict[str, str] = field(default_factory=dict)  # by role: live, shadow


class ModelFeed:
    """The models of each workflow."""

    def __init__(
        self, models_dir: Path, load: Load, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._models_dir = models_dir
        self._load = load
        self._now = now
        self._changing = threading.Lock()
        self._own: dict[tuple[str, Task], Loaded] = {}
        self._states: dict[str, _State] = {}

    def add(self, workflow: Workflow) -> Served:
        """One more workflow, its model loaded if it has one; the others are scored meanwhile. Safe
        to repeat.

        Where the current version cannot be used, the one before it is, else the workflow's own: a
        start must not fail for a version that was promoted meanwhile.

        Raises:
            ConfigurationError: the workflow's own model is needed and cannot be loaded.
        """
        if not workflow.has_model:
            return Served(workflow.name, None, spec=workflow.spec)
        with self._changing:
            state = self._states.get(workflow.name)
            if state is None or state.workflow != workflow:  # its file was mended meanwhile
                state = self._start(workflow)
            self._states[workflow.name] = state
            self._follow_shadow(state, state.seen)
        return state.served

    def model(self, workflow: str) -> Loaded:
        """The one that scores a workflow."""
        return self._states[workflow].model

    def refused(self) -> dict[str, str]:
        """The workflows whose `current.json` names a model that cannot be used, and why; from any
        thread."""
        return {
            name: "; ".join(
                f"{role} model: {problem}" for role, problem in tuple(state.problems.items())
            )
            for name, state in tuple(self._states.items())
            if state.problems
        }

    def follow(self, stopping: threading.Event) -> None:
        """From now on, on a thread of its own, until `stopping`: takes over what is put in use."""
        threading.Thread(target=self._watch, args=(stopping,), name="models", daemon=True).start()

    def _watch(self, stopping: threading.Event) -> None:
        while not stopping.wait(POLL_SECONDS):
            try:
                with self._changing:
                    self.look()
            except BaseException:
                # Whatever it was, the scoring goes on, and so must the watch.
                logger.exception("checking current.json failed")

    def look(self) -> None:
        """One look at every `current.json`. A file that has gone changes nothing."""
        for name, state in self._states.items():
            content = self._content(name)
            again = state.retry_at is not None and self._now() >= state.retry_at
            if content is None or (content == state.seen and not again):
                continue
            state.seen, state.retry_at = content, None
            try:
                current = read_current(content)
                wanted = (current.folder, current.model_version)
                if wanted != state.live:
                    # The labels that the workflow has been scored by: another order or another
                    # name of one would turn what the policy says of them into nonsense.
                    labels = state.model.labels
                    self._take_over(state, self._loaded(state.workflow, current, labels))
                    state.live = wanted
            except BaseException as error:  # a panic of a library in Rust is no Exception
                self._refuse(state, "live", reason_of(error))
            else:
                state.problems.pop("live", None)
                MODEL_REFUSED.labels(name, "live").set(0)
            self._follow_shadow(state, content)

    def _start(self, workflow: Workflow) -> _State:
        name = workflow.name
        for role in ("live", "shadow"):
            MODEL_REFUSED.labels(name, role).set(0)
        content = self._content(name)
        versions: tuple[Current, ...] = ()
        problem: str | None = None
        try:
            if content is not None:
                current = read_current(content)
                versions = (current, _before(current))
        except ConfigurationError as error:
            problem = reason_of(error)
        model: Loaded | None = None
        in_use = _OWN
        for version in versions:
            try:
                model = self._loaded(workflow, version, workflow.labels or None)
            except Exception as error:
                problem = problem or reason_of(error)
            else:
                in_use = (version.folder, version.model_version)
                break
        if model is None:
            model = self._own_model(workflow)
        _count(name, model)
        state = _State(workflow, Served(name, model, spec=workflow.spec), model, content, in_use)
        if problem is not None:
            self._refuse(state, "live", problem)
        return state

    def _loaded(
        self, workflow: Workflow, version: Current | Shadow, labels: tuple[str, ...] | None
    ) -> Loaded:
        """The model of a version, tried on one text.

        Raises:
            ConfigurationError: it cannot be used, and why.
        """
        if version.folder is None:
            return self._own_model(workflow)
        path = folder_of(self._models_dir, workflow.name, version.folder)
        if not path.is_dir():
            raise ConfigurationError(f"{path}: no such folder")
        try:
            # What was trained has the labels itself, whatever the workflow's own model is asked.
            model = self._load(str(path), Task(workflow.answer, labels))
            model.classify([_PROBE])
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(f"{path}: {reason_of(error)}") from error
        of_files = model.model_version.removesuffix(SUFFIX)  # in whatever precision it answers
        if version.model_version not in (None, of_files):
            raise ConfigurationError(
                f"{path} holds {model.model_version}, not {version.model_version}: its files have "
                "changed since it was registered"
            )
        return model

    def _own_model(self, workflow: Workflow) -> Loaded:
        """Workflows with the same model and labels share it."""
        key = (workflow.model, task_of(workflow))
        if key not in self._own:
            self._own[key] = self._load(*key)
        return self._own[key]

    def _take_over(self, state: _State, model: Loaded) -> None:
        before = state.model
        state.model = state.served.classifier = model
        in_use = [each.served.classifier for each in self._states.values()]
        self._own = {key: own for key, own in self._own.items() if own in in_use}
        name = state.workflow.name
        if before.model_version != model.model_version:
            _count(name, model)
            MODEL_INFO.remove(name, before.model_version, "live")
            MODEL_FILES_INFO.remove(name, *_files(before))
        versions = {"model_version": model.model_version, "before": before.model_version}
        logger.info("model in use", extra={"workflow": name, **versions})

    def _follow_shadow(self, state: _State, content: bytes | None) -> None:
        try:
            wanted = None if content is None else read_current(content).shadow
        except ConfigurationError:
            return  # said already, of the live model
        name = state.workflow.name
        held = state.served.candidate
        key = None if wanted is None else (wanted.folder, wanted.model_version)
        try:
            if wanted is None:
                candidate = None
            elif held is not None and key == state.shadow:
                candidate = Candidate(held.classifier, wanted.share)
            else:
                labels = state.model.labels
                candidate = Candidate(self._loaded(state.workflow, wanted, labels), wanted.share)
        except BaseException as error:
            key = candidate = None
            self._refuse(state, "shadow", reason_of(error))
        else:
            state.problems.pop("shadow", None)
            MODEL_REFUSED.labels(name, "shadow").set(0)
        state.shadow, state.served.candidate = key, candidate
        if held is not None:
            MODEL_INFO.remove(name, held.classifier.model_version, "shadow")
        if candidate is not None:
            MODEL_INFO.labels(name, candidate.classifier.model_version, "shadow").set(1)

    def _refuse(self, state: _State, role: str, problem: str) -> None:
        name = state.workflow.name
        state.retry_at = self._now() + RETRY_SECONDS
        state.problems[role] = problem
        MODEL_REFUSED.labels(name, role).set(1)
        logger.error(
            "model rejected; keeping the last good one",
            extra={
                "workflow": name,
                "role": role,
                "problem": problem,
                "model_version": state.model.model_version,
            },
        )

    def _content(self, workflow: str) -> bytes | None:
        try:
            return (self._models_dir / workflow / CURRENT).read_bytes()
        except OSError:
            return None


def _count(workflow: str, model: Loaded) -> None:
    """Says which model is live and shows its answers from 0 on."""
    MODEL_INFO.labels(workflow, model.model_version, "live").set(1)
    MODEL_FILES_INFO.labels(workflow, *_files(model)).set(1)
    CONFIDENCE.labels(workflow)
    for label in model.labels:
        PREDICTIONS.labels(workflow, label, model.model_version)


def _files(model: Loaded) -> tuple[str, str, str]:
    return model.model_version, model.sha256, model.batches


def _before(current: Current) -> Current:
    """The version before it, as far as the file names it."""
    folder = None if current.previous == BASE_VERSION else current.previous
    return current.model_copy(update={"folder": folder, "model_version": None})
