"""A transformers classifier of texts or tokens, by folder or by hub id, as a `Model`."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import nn

from services.inference.entailment import entailing
from services.inference.model import (
    Batches,
    Model,
    digest_of,
    named,
    padded,
    padded_in_bf16,
    temperature_of,
    temperatures_of,
)
from services.inference.packed import bf16_is_fast, pack
from shared.errors import ConfigurationError
from shared.models.proof import differs, prove
from shared.models.reading import read_checkpoint, refused
from shared.models.task import LABEL, Task

logger = logging.getLogger(__name__)

# Everything else is fetched: which files a tokenizer reads, its class alone knows. In sub-folders
# lie other formats (ONNX, OpenVINO).
_NOT_NEEDED = (
    "*/*", "*.bin", "*.ckpt", "*.gguf", "*.h5", "*.index", "*.msgpack", "*.onnx", "*.ot", "*.pkl",
    "*.pt", "*.pth", "*.tar.gz", "*.tflite", "*.zip", "*.gif", "*.jpg", "*.mp4", "*.pdf", "*.png",
)  # fmt: skip
_VERSIONED_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin"}


def download(hub_id: str) -> Path:
    """The local folder of a hub model, fetched if it is not cached; safetensors where there are.
    `org/name@revision` is that commit, tag or branch, else it is `main`.

    Raises `ConfigurationError`, which says what to do, when the hub cannot be reached or has no
    such model.
    """
    try:
        folder = _snapshot(hub_id, ())
        if not any(folder.glob("*.safetensors")):
            folder = _snapshot(hub_id, ("pytorch_model*.bin",))
    except (OSError, ValueError) as error:  # every hub error is an OSError or a ValueError
        raise ConfigurationError(
            f"the model {hub_id!r} is not cached here and the hub did not deliver it "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Check the id and the "
            f"connection, or put a downloaded model folder in its place, or use 'embedded'."
        ) from error
    return folder


def load_folder(folder: Path, model_id: str, device: torch.device, task: Task = LABEL) -> Model:
    """Read a checkpoint from `folder`, without any network, as float32 on `device`.

    Raises `ConfigurationError` if it is no classifier for the task with trained weights, or one
    whose answers cannot be relied on.
    """
    checkpoint = read_checkpoint(folder, task)
    network = checkpoint.network
    with refused(folder):
        on_cpu = device.type == "cpu"
        packed = (
            pack(network.config.to_dict(), network.state_dict(), of_tokens=checkpoint.of_tokens)
            if on_cpu
            else None
        )
        if packed is not None and task.hypothesis:
            packed = replace(packed, template=checkpoint.assembly.types)
        nn.Module.to(network, device)
        prove(checkpoint, device)
        if packed is not None and (problem := differs(checkpoint, packed)):
            logger.warning("not packed: %s", problem, extra={"model": model_id})
            packed = None
    assembly = checkpoint.assembly
    whole = packed or padded(network, device, assembly, of_tokens=checkpoint.of_tokens)
    in_bf16 = padded_in_bf16(whole, device)
    if packed is not None and bf16_is_fast():
        in_bf16 = packed.in_bf16
    batches: Batches = "equal_lengths" if assembly.alike else "padded"
    digest = digest_of(_versioned(folder, checkpoint.files))
    model = Model(
        network=whole,
        tokenizer=checkpoint.tokenizer,
        labels=checkpoint.labels,
        batches=batches if packed is None else "packed",
        max_tokens=checkpoint.window,
        temperature=1.0 if task.answers == "labels" else temperature_of(folder),
        version=named(model_id, digest),
        sha256=digest,
        in_bf16=in_bf16,
        of_tokens=checkpoint.of_tokens,
    )
    if task.hypothesis:
        with refused(folder):
            model = entailing(model, model_id, checkpoint, task, packed, device)
    if task.answers == "labels":
        model = replace(model, temperatures=temperatures_of(folder, model.labels))
    return model


def _snapshot(hub_id: str, others: Sequence[str]) -> Path:
    name, _, revision = hub_id.partition("@")
    left_out = [pattern for pattern in _NOT_NEEDED if not others or pattern != "*.bin"]
    return Path(
        snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=list(others) or None,
            ignore_patterns=left_out,
        )
    )


def _versioned(folder: Path, tokenizer_files: Collection[str]) -> list[Path]:
    files = [
        f
        for f in folder.iterdir()
        if f.is_file() and (f.suffix in _VERSIONED_SUFFIXES or f.name in tokenizer_files)
    ]
    if any(f.suffix == ".safetensors" for f in files):
        return [f for f in files if f.suffix != ".bin"]  # the same weights again: not read
    return files
