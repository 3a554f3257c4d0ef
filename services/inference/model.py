"""A loaded model, whatever it was loaded from: its parts and its version."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from shared.errors import ConfigurationError
from shared.models.batch_invariance import answering
from shared.models.template import Assembly

# the token ids of some texts, one row each -> logits, float [texts, labels]
Network = Callable[[Sequence[Sequence[int]]], Tensor]
# How texts go through a network together: one after the other without padding; padded to the
# longest; or only those that are equally long, where padding would change the answers.
Batches = Literal["packed", "padded", "equal_lengths"]


@dataclass(frozen=True)
class Model:
    """A network with everything that is needed to score a text by it.

    `max_tokens` is the window, special tokens included. `temperature` divides the logits
    (Guo et al. 2017, "On Calibration of Modern Neural Networks"). `labels` are in the order of
    the logits. The tokenizer neither pads nor truncates, nor reads special tokens from a text.
    `sha256` is over all files that it was made of. `in_bf16` makes the network in bfloat16; None
    where that gains nothing.
    """

    network: Network
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    batches: Batches
    max_tokens: int
    temperature: float
    version: str
    sha256: str
    in_bf16: Callable[[], Network] | None = None


def padded(network: nn.Module, device: torch.device, assembly: Assembly) -> Network:
    """A transformers classifier on `device`, ready to score and never again to train."""
    network.to(device).eval().requires_grad_(False)
    return answering(network, assembly, device)


def autocast(network: Network, device: torch.device) -> Network:
    """The same with matrix products in bfloat16; torch keeps norms, softmax and weights as they
    are."""

    def score(rows: Sequence[Sequence[int]]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return network(rows)

    return score


def padded_in_bf16(network: Network, device: torch.device) -> Callable[[], Network] | None:
    """How a `padded` network is made in bfloat16; None where that gains nothing."""
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return partial(autocast, network, device)


def named(model_id: str, digest: str) -> str:
    """The version of a model by the digest of its files: a folder has no revision."""
    return f"{model_id}@{digest[:12]}"


def digest_of(files: Sequence[Path]) -> str:
    """SHA-256 over the names and bytes of `files`, in hex (91 MB take 0.1 to 0.3 s)."""
    whole = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        with path.open("rb") as file:
            part = hashlib.file_digest(file, "sha256")
        whole.update(f"{path.name}\0{part.hexdigest()}\n".encode())
    return whole.hexdigest()


def temperature_of(folder: Path) -> float:
    """The temperature in the folder's calibration.json; 1 (scores as they are) without the file.

    Raises:
        ConfigurationError: the file names none, or one outside 0.01 to 100.
    """
    path = folder / "calibration.json"
    if not path.is_file():
        return 1.0
    try:
        temperature = float(json.loads(path.read_text())["temperature"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} names no temperature: {error!r}") from error
    if not 0.01 <= temperature <= 100:  # also refuses NaN
        raise ConfigurationError(f"{path}: a temperature of {temperature} is outside 0.01..100")
    return temperature
