"""A workflow's model for the commands: its versions, the current one, loading one of them.

What `hitl retrain` and `hitl model` share. torch is imported only where a model is needed.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from sqlalchemy import Engine

from hitl.servers.home import Home, user_name
from hitl.support.connection import database_url
from services.feedback.registry.mlflow_copy import NotCopied, copy_to_mlflow
from services.feedback.registry.versions import Registry
from shared.errors import ConfigurationError, HitlError
from shared.labels import label_key
from shared.models.current import BASE_VERSION
from shared.service.settings import Settings
from shared.storage.database import connect, database_errors
from shared.workflows.files import Workflow, read_workflow_file, workflow_paths

if TYPE_CHECKING:
    from services.feedback.training.replay_set import ReplaySet
    from services.inference.classifier import Classifier

DEFAULT_THRESHOLD = 0.85


@dataclass(frozen=True)
class Place:
    """A workflow, its registry, what its policy file says of the threshold, and where MLflow is."""

    workflow: Workflow
    registry: Registry
    threshold: float
    data: Path
    mlflow_uri: str

    def folder(self, version: str) -> Path:
        """Where a version's weights lie; a hub model is downloaded.

        Raises:
            ConfigurationError: there is no such version, or the model cannot be had.
        """
        if version != BASE_VERSION:
            return self.registry.folder / self.registry.receipt(version).folder
        from services.inference import embedded, pretrained

        model = self.workflow.model
        if model == "embedded":
            return embedded.SHIPPED_ADAPTER
        return Path(model) if Path(model).is_dir() else pretrained.download(model)

    def load(self, version: str) -> "Classifier":
        """A version as the worker loads it."""
        if version == BASE_VERSION:
            return load_model(self.workflow.model, self.workflow.labels)
        return load_model(str(self.folder(version)), self.workflow.labels)


def load_model(model: str, labels: tuple[str, ...]) -> "Classifier":
    """As the worker does, on one thread."""
    from services.inference.classifier import load

    return load(model, labels=labels or None)


def served_by(workflow: Workflow, environment: Mapping[str, str] = os.environ) -> str:
    """The model that the worker would score a workflow with, in words, after loading it so.

    Raises:
        ConfigurationError: it cannot be had, or the version in use cannot and another would serve.
    """
    from services.inference.classifier import load_as_worker
    from services.inference.model_feed import ModelFeed

    settings = Settings.from_environment(environment)
    home = Home.from_environment(environment)
    models = settings.models_dir or home.path / "models"
    feed = ModelFeed(models, partial(load_as_worker, settings))
    feed.add(workflow)
    model = feed.model(workflow.name)
    if problems := feed.refused():
        raise ConfigurationError(
            f"{problems[workflow.name]}; {model.model_version} would serve in its place"
        )
    slower = "; scored in rows of equal length, slower: padding would change its answers"
    labels = ", ".join(model.labels)
    return f"loaded {model.model_version}, labels {labels}" + (
        slower if model.batches == "equal_lengths" else ""
    )


def place_of(workflow: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Where everything of a workflow is.

    Raises:
        ConfigurationError: there is no such workflow, or the settings are wrong.
    """
    settings = Settings.from_environment(environment)
    home = Home.from_environment(environment)
    path = workflow_paths(settings.workflows_dir, [workflow])[workflow]
    content = read_workflow_file(path)
    threshold = content.policy.get("threshold", DEFAULT_THRESHOLD)
    return Place(
        workflow=content.workflow,
        registry=Registry(settings.models_dir or home.path / "models", workflow),
        threshold=float(threshold) if isinstance(threshold, int | float) else DEFAULT_THRESHOLD,
        data=home.data,
        mlflow_uri=settings.mlflow_uri,
    )


def replay_set(place: Place, replay: Path | None, labels: tuple[str, ...]) -> "ReplaySet | None":
    """What must not be forgotten: the given file, else, of the embedded model, its own movies."""
    from services.feedback.training.rated_texts import LABELS
    from services.feedback.training.replay_set import from_file, movies

    if replay is not None:
        return from_file(replay, labels)
    if place.workflow.model == "embedded" and set(LABELS) == {label_key(label) for label in labels}:
        try:
            return movies(place.data, labels)
        except ConfigurationError:
            return None  # never fetched, as in a container: the card says that nothing was replayed
    return None


@contextmanager
def database() -> Iterator[Engine]:
    """The log's database."""
    engine = connect(database_url(os.environ), pool_size=2, application="hitl-models")
    try:
        with database_errors():
            yield engine
    finally:
        engine.dispose()


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """What goes wrong becomes one line and exit code 1."""
    try:
        yield
    except HitlError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def copied(place: Place) -> None:
    """MLflow, where there is one, follows the folder; what it misses is said and fails nothing."""
    if place.mlflow_uri:
        try:
            copy_to_mlflow(place.mlflow_uri, place.registry)
        except NotCopied as error:
            typer.echo(str(error), err=True)


def user_at_host() -> str:
    """Who types where, for the record."""
    return f"{user_name()}@{socket.gethostname()}"
