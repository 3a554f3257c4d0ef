"""Loads a workflow's model as the inference worker does, for the kind of answer that is asked."""

import logging

from services.inference.classifier import Classifier, load
from services.inference.heads.label_sets import LabelSets
from services.inference.heads.tagger import Tagger
from services.inference.proving import Proof
from services.inference.sources import read_model, refused_by_name, token_budget_of
from shared.errors import ConfigurationError
from shared.models.task import Task
from shared.service.settings import Settings
from shared.workflows.files import Workflow

logger = logging.getLogger(__name__)

Loaded = Classifier | LabelSets | Tagger


def task_of(workflow: Workflow) -> Task:
    """What a workflow's own model is to do."""
    return Task(workflow.answer, workflow.labels or None, workflow.hypothesis)


def load_as_worker(settings: Settings, model: str, task: Task) -> Loaded:
    """The model for this task, by the worker's settings.

    Raises:
        ConfigurationError: it cannot be loaded or does not fit; the text says what to do.
    """
    if task.answers == "label":
        return load(
            model,
            labels=task.labels,
            hypothesis=task.hypothesis,
            threads=settings.model_threads,
            token_budget=settings.token_budget,
            precision=settings.precision,
            proof=Proof(settings.precision_texts, settings.home / "precision"),
        )
    if settings.precision == "bf16":
        raise ConfigurationError(
            f"{model} cannot be used in bfloat16: only answers of one label are compared with"
            " float32's"
        )
    if settings.precision == "auto":
        logger.info("bfloat16 is for answers of one label; keeping float32", extra={"model": model})
    return load_head(model, task, settings.model_threads, settings.token_budget)


def load_head(
    model: str, task: Task, threads: int = 1, token_budget: int | None = None
) -> LabelSets | Tagger:
    """A model whose answers are sets of labels or spans, in float32.

    Raises:
        ConfigurationError: as `load_as_worker`.
    """
    with refused_by_name(model):
        read = read_model(model, task, threads)
        budget = token_budget_of(token_budget)
        labels = task.labels or ()
        if task.answers == "labels":
            return LabelSets(read, labels, budget)
        return Tagger(read, labels, budget)
