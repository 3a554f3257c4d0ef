"""A loaded model, whatever it was loaded from: its parts and its version."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from shared.errors import ConfigurationError
from shared.labels import distinct, known_as, label_key
from shared.models.batch_invariance import answering
from shared.models.template import Assembly

# the token ids of some texts, one row each -> logits, float [texts, labels]; of a model of tokens:
# [tokens, labels], one row's after the other's
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
    where that gains nothing. `of_tokens`: it answers for each token. `temperatures`: those of the
    labels, in their order, where each is judged by itself.
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
    of_tokens: bool = False
    temperatures: tuple[float, ...] = ()


def padded(
    network: nn.Module, device: torch.device, assembly: Assembly, *, of_tokens: bool = False
) -> Network:
    """A transformers classifier on `device`, ready to score and never again to train."""
    network.to(device).eval().requires_grad_(False)
    return answering(network, assembly, device, of_tokens=of_tokens)


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
    path, told = _calibration(folder)
    return 1.0 if told is None else _temperature(path, told)


def temperatures_of(folder: Path, labels: Sequence[str]) -> tuple[float, ...]:
    """Of each label: where `temperature` in the folder's calibration.json is an object, its own,
    else the same for all.

    Raises:
        ConfigurationError: as `temperature_of`; or the file names other labels.
    """
    path, told = _calibration(folder)
    if not isinstance(told, dict):
        return (1.0 if told is None else _temperature(path, told),) * len(labels)
    own = {known_as(name, labels): value for name, value in told.items()}
    if len(told) != len(labels) or own.keys() != set(labels):
        raise ConfigurationError(
            f"{path} has temperatures of {', '.join(told)}, not of {', '.join(labels)}"
        )
    return tuple(_temperature(path, own[label]) for label in labels)


def label_order(have: tuple[str, ...], want: tuple[str, ...]) -> list[int]:
    """For each wanted label its column in the model's output.

    Raises:
        ConfigurationError: these are not the model's labels.
    """
    if len(have) == len(want) and all(re.fullmatch(r"LABEL_\d+", label) for label in have):
        return list(range(len(have)))
    columns = {label_key(label): column for column, label in enumerate(distinct(have))}
    wanted = [label_key(label) for label in distinct(want)]
    if sorted(columns) != sorted(wanted):
        raise ConfigurationError(
            f"the model has the labels {', '.join(have)}, the workflow {', '.join(want)}: "
            "use the model's labels in the workflow"
        )
    return [columns[label] for label in wanted]


def _calibration(folder: Path) -> tuple[Path, object]:
    """Its file, and what that names as temperature; None without the file."""
    path = folder / "calibration.json"
    if not path.is_file():
        return path, None
    try:
        told: object = json.loads(path.read_text())["temperature"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} names no temperature: {error!r}") from error
    return path, float("nan") if told is None else told


def _temperature(path: Path, told: object) -> float:
    try:
        temperature = float(told)  # type: ignore[arg-type]  # that is what is tried
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} names no temperature: {error!r}") from error
    if not 0.01 <= temperature <= 100:  # also refuses NaN
        raise ConfigurationError(f"{path}: a temperature of {temperature} is outside 0.01..100")
    return temperature
