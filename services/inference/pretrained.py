"""How does a transformers text classifier, by folder or by hub id, become a `Model`?"""

from collections.abc import Callable
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from services.inference.model import (
    Model,
    Network,
    padded,
    padded_in_bf16,
    temperature_of,
    version_of,
)
from services.inference.packed import bf16_is_fast, pack
from shared.errors import ConfigurationError
from shared.labels import of_model
from shared.pretrained import quiet_loading

# Attention costs the square of the window, and few heads were tuned on more: longer texts are
# scored by windows instead.
_MAX_WINDOW_TOKENS = 512
_TEXT_FILES = ("*.json", "*.txt", "*.model")
_VERSIONED_SUFFIXES = {".json", ".txt", ".model", ".safetensors", ".bin"}


def download(hub_id: str) -> Path:
    """The local folder of a hub model, fetched if it is not cached; safetensors where there are.

    Raises `ConfigurationError`, which says what to do, when the hub cannot be reached or has no
    such model.
    """
    try:
        folder = _snapshot(hub_id, "*.safetensors")
        if not any(folder.glob("*.safetensors")):
            folder = _snapshot(hub_id, "pytorch_model*.bin")
    except (OSError, ValueError) as error:  # every hub error is an OSError or a ValueError
        raise ConfigurationError(
            f"the model {hub_id!r} is not cached here and the hub did not deliver it "
            f"({type(error).__name__}: {str(error).splitlines()[0]}). Check the id and the "
            f"connection, or put a downloaded model folder in its place, or use 'embedded'."
        ) from error
    return folder


def load_folder(folder: Path, model_id: str, device: torch.device) -> Model:
    """Read a checkpoint from `folder`, without any network, as float32 on `device`.

    Raises `ConfigurationError` if it is no single-label text classifier with trained weights.
    """
    try:
        with quiet_loading():
            network, told = AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise ConfigurationError(f"{folder} holds no usable model: {error}") from error
    if told["missing_keys"] or told["mismatched_keys"]:
        # transformers would fill these with random numbers and only warn.
        raise ConfigurationError(
            f"{folder} is no trained text classifier: its weights lack "
            f"{', '.join(sorted(map(str, told['missing_keys'])))}"
        )
    config = network.config
    if config.num_labels < 2 or config.problem_type in ("regression", "multi_label_classification"):
        raise ConfigurationError(f"{folder} does not choose one label among several")
    if not tokenizer.is_fast:
        raise ConfigurationError(f"{folder} has no tokenizer.json, and none can be made from it")
    pad_id = next((i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None), 0)
    backend = tokenizer.backend_tokenizer
    backend.no_padding()  # many checkpoints bake padding and truncation into tokenizer.json
    backend.no_truncation()
    if config.pad_token_id is None:  # decoder models refuse a batch without one
        config.pad_token_id = pad_id
    packed = pack(config.to_dict(), network.state_dict()) if device.type == "cpu" else None
    in_bf16: Callable[[], Network] | None = padded_in_bf16(network, device, pad_id)
    if packed is not None and bf16_is_fast():
        in_bf16 = packed.in_bf16
    return Model(
        network=packed or padded(network, device, pad_id),
        tokenizer=backend,
        labels=of_model(config.id2label, config.num_labels),
        pads=packed is None,
        max_tokens=_window(network, tokenizer.model_max_length),
        temperature=temperature_of(folder),
        version=version_of(model_id, _versioned(folder)),
        in_bf16=in_bf16,
    )


def _snapshot(hub_id: str, weights: str) -> Path:
    # "*/*": other formats (ONNX, OpenVINO) lie in sub-folders.
    patterns = [*_TEXT_FILES, weights]
    return Path(snapshot_download(hub_id, allow_patterns=patterns, ignore_patterns=["*/*"]))


def _versioned(folder: Path) -> list[Path]:
    files = [f for f in folder.iterdir() if f.is_file() and f.suffix in _VERSIONED_SUFFIXES]
    if any(f.suffix == ".safetensors" for f in files):
        return [f for f in files if f.suffix != ".bin"]  # the same weights again: not read
    return files


def _window(network: PreTrainedModel, tokenizer_limit: int) -> int:
    limits = [_MAX_WINDOW_TOKENS, tokenizer_limit]
    positions = getattr(network.config, "max_position_embeddings", None)
    if positions:
        # RoBERTa and its kin count positions from the padding index on, so they have fewer.
        offsets = [
            module.padding_idx + 1
            for name, module in network.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None)
        ]
        limits.append(positions - max(offsets, default=0))
    return min(limits)
