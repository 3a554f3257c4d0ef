"""A workflow's model versions: where they are, the current one, loading one of them.

`hitl retrain` and `hitl model` share it. torch is imported only where a model is needed.
"""

import os
import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hitl.servers.home import Home, user_name
from services.feedback.registry.mlflow_copy import NotCopied, copy_to_mlflow
from services.feedback.registry.versions import Registry
from shared.errors import ConfigurationError
from shared.labels import label_key
from shared.models.current import BASE_VERSION
from shared.models.task import Task
from shared.service.settings import Settings
from shared.workflows.files import Workflow, read_workflow_file, workflow_paths

if TYPE_CHECKING:
    from services.feedback.training.replay_set import ReplaySet
    from services.inference.loading import Loaded

DEFAULT_THRESHOLD = 0.85


@dataclass(frozen=True)
class ModelContext:
    """A workflow with its model registry, its policy's threshold, the folder of fetched data sets,
    and MLflow's address (empty: none)."""

    workflow: Workflow
    registry: Registry
    threshold: float
    data: Path
    mlflow_uri: str

    def folder(self, version: str) -> Path:
        """The folder of a version's weights; a hub model is downloaded.

        Raises:
            ConfigurationError: there is no such version, or the download failed.
        """
        if version != BASE_VERSION:
            return self.registry.folder / self.registry.receipt(version).folder
        from services.inference import embedded, pretrained

        model = self.workflow.model
        if model == "embedded":
            return embedded.SHIPPED_ADAPTER
        return Path(model) if Path(model).is_dir() else pretrained.download(model)

    def load(self, version: str) -> "Loaded":
        """A version as the worker loads it.

        Raises:
            ConfigurationError: there is none that could be trained.
        """
        workflow = self.workflow
        if not workflow.has_model:
            raise ConfigurationError(
                f"workflow {workflow.name} has no model of ours: its predictions come with the "
                f"items. `hitl train-texts` makes one from labelled texts for labels and spans"
            )
        from services.inference.loading import task_of

        if version == BASE_VERSION:
            return load_model(workflow.model, task_of(workflow))
        # What was trained has the labels itself, whatever the workflow's own model is asked.
        task = Task(workflow.answer, workflow.labels or None)
        return load_model(str(self.folder(version)), task)


def load_model(model: str, task: Task) -> "Loaded":
    """A model as the worker loads it, on one thread."""
    from services.inference.classifier import load
    from services.inference.loading import load_head

    if task.answers == "label":
        return load(model, labels=task.labels, hypothesis=task.hypothesis)
    return load_head(model, task)


def served_by(workflow: Workflow) -> str:
    """Loads the model that the worker would score a workflow with, and describes it.

    Raises:
        ConfigurationError: it cannot be loaded, or the version in use cannot and the worker would
            fall back to another.
    """
    if not workflow.has_model:
        return "no model to load: predictions come with the items, or there are none"
    from services.inference.loading import load_as_worker
    from services.inference.model_feed import ModelFeed

    settings = Settings.from_environment(os.environ)
    home = Home.from_environment(os.environ)
    models = settings.models_dir or home.path / "models"
    feed = ModelFeed(models, partial(load_as_worker, settings))
    feed.add(workflow)
    model = feed.model(workflow.name)
    if problems := feed.refused():
        raise ConfigurationError(
            f"{problems[workflow.name]}; the worker would fall back to {model.model_version}"
        )
    told = f"loaded {model.model_version}, labels {', '.join(model.labels)}"
    if model.batches == "equal_lengths":
        told += "; scored in batches of equal length (slower): padding would change its answers"
    return told


def model_context(workflow: str) -> ModelContext:
    """The model context of a workflow.

    Raises:
        ConfigurationError: there is no such workflow, or the settings are wrong.
    """
    settings = Settings.from_environment(os.environ)
    home = Home.from_environment(os.environ)
    content = read_workflow_file(workflow_paths(settings.workflows_dir, [workflow])[workflow])
    threshold = content.policy.get("threshold", DEFAULT_THRESHOLD)
    return ModelContext(
        workflow=content.workflow,
        registry=Registry(settings.models_dir or home.path / "models", workflow),
        threshold=float(threshold) if isinstance(threshold, int | float) else DEFAULT_THRESHOLD,
        data=home.data,
        mlflow_uri=settings.mlflow_uri,
    )


def replay_set(
    context: ModelContext, replay: Path | None, labels: tuple[str, ...]
) -> "ReplaySet | None":
    """The texts that training must not forget: the given file's, else the embedded model's own
    movie reviews."""
    from services.feedback.training.rated_texts import LABELS
    from services.feedback.training.replay_set import from_file, movies

    if replay is not None:
        return from_file(replay, labels, context.workflow.spec)
    embedded = context.workflow.answer == "label" and context.workflow.model == "embedded"
    if embedded and set(LABELS) == {label_key(label) for label in labels}:
        try:
            return movies(context.data, labels)
        except ConfigurationError:
            return None  # never fetched, as in a container: the card says that nothing was replayed
    return None


def update_mlflow(context: ModelContext) -> None:
    """Copies the registry to MLflow, where that is set; a failure is printed and ends nothing."""
    if context.mlflow_uri:
        try:
            copy_to_mlflow(context.mlflow_uri, context.registry)
        except NotCopied as error:
            typer.echo(str(error), err=True)


def user_at_host() -> str:
    """The user and the machine, for the record."""
    return f"{user_name()}@{socket.gethostname()}"
