"""Finds the model that a workflow names: the embedded one, a folder, a hub id."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from services.inference import embedded
from services.inference.model import Model
from shared.errors import ConfigurationError, reason_of
from shared.models.task import Task

TOKEN_BUDGET_CPU = 512  # larger batches gain nothing there and delay the first answer
TOKEN_BUDGET_GPU = 32_768
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@\w[\w./-]*)?")


def read_model(model: str, task: Task, threads: int = 1) -> Model:
    """The model of this name, for this task, on a GPU if there is one. Sets torch's thread count
    for the whole process.

    Raises:
        ConfigurationError: there is none, or it is not made for the task.
    """
    torch.set_num_threads(threads)
    device = _device()
    folder = Path(model)
    adapter = model == "embedded" or (folder / "adapter_config.json").is_file()
    if adapter and (task.hypothesis or task.answers != "label"):
        asked = "hypotheses" if task.hypothesis else task.answers
        raise ConfigurationError(
            f"the model {model!r} is the embedded one or an adapter of it, which gives one label,"
            f" no {asked}: name a folder or a hub id of a model for that"
        )
    if model == "embedded":
        return embedded.load_adapter(embedded.SHIPPED_ADAPTER, "embedded", device)
    if adapter:
        return embedded.load_adapter(folder, folder.resolve().name, device)
    # Imported where it is needed: transformers takes seconds, and the embedded model none of it.
    from services.inference import pretrained

    if model and folder.is_dir():
        return pretrained.load_folder(folder, folder.resolve().name, device, task)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise ConfigurationError(
            f"the model {model!r} is neither a folder that exists, nor a hub id, nor 'embedded'"
        )
    return pretrained.load_folder(pretrained.download(model), model, device, task)


def token_budget_of(wanted: int | None) -> int:
    """The tokens of a batch: as many as wanted, or what suits the device."""
    return wanted or (TOKEN_BUDGET_GPU if _device().type == "cuda" else TOKEN_BUDGET_CPU)


@contextmanager
def refused_by_name(model: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a `ConfigurationError`."""
    try:
        yield
    except (ConfigurationError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever a file may hold; a panic in Rust is no Exception
        why = f"the model {model!r} cannot be loaded: {reason_of(error)}"
        raise ConfigurationError(why) from error


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
