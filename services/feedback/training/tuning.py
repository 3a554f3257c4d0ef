"""Opens a model's folder for training, and saves it as a folder again.

An adapter for the embedded base is trained on as it is. Any other transformers classifier gets LoRA
(Hu et al. 2021) on every linear layer, which is merged into its weights before they are saved.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from services.feedback.training.fitting import Recipe
from shared.errors import ConfigurationError
from shared.models.minilm import BASE, base_tokenizer
from shared.models.pretrained import base_network
from shared.models.proof import prove
from shared.models.reading import Checkpoint, read_checkpoint, refused
from shared.models.template import Assembly
from shared.models.trial import TEXTS

CALIBRATION = "calibration.json"
# Whatever the class, beside the files that the class names.
_OF_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


@dataclass(frozen=True)
class Tunable:
    """A network with trainable parts, its labels in the order of its scores, and its tokens. `save`
    writes to a folder what inference loads, all but the temperature."""

    network: PeftModel
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    assembly: Assembly
    save: Callable[[Path], None]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, cut at the recipe's length."""
        return [encoded.ids for encoded in self.tokenizer.encode_batch(list(texts))]


def open_tunable(folder: Path, recipe: Recipe) -> Tunable:
    """The model in `folder`, ready to be trained on.

    Raises:
        ConfigurationError: it holds no model of a kind that can be.
    """
    try:
        if (folder / "adapter_config.json").is_file():
            return _open_adapter(folder, recipe)
        return _open_checkpoint(folder, recipe)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ConfigurationError(
            f"{folder} holds no model that can be trained further: {error}"
        ) from error


def save_adapter(network: torch.nn.Module, folder: Path) -> None:
    """Write the adapter as peft does, weights in fp16 (half the size, no measurable loss)."""
    if not isinstance(network, PeftModel):
        raise TypeError("only an adapted network has an adapter to save")
    network.save_pretrained(str(folder), save_embedding_layers=False)
    path = folder / "adapter_model.safetensors"
    halves = save_tensors({name: w.half() for name, w in load_file(path).items()})
    path.unlink()  # a new file, so that others than its owner may read it
    path.write_bytes(halves)


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Silences peft 0.21, which asks transformers 5 for an attribute that has been renamed, and
    says of GPT-2's layers what it mends by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.filterwarnings("ignore", "fan_in_fan_out is set to")
        yield


def write_temperature(parent: Path, folder: Path, temperature: float) -> None:
    """Write the new temperature beside what else the parent's file says."""
    path = parent / CALIBRATION
    facts = json.loads(path.read_text()) if path.is_file() else {}
    (folder / CALIBRATION).write_text(json.dumps({**facts, "temperature": temperature}, indent=2))


def _open_adapter(folder: Path, recipe: Recipe) -> Tunable:
    labels = tuple(map(str, json.loads((folder / CALIBRATION).read_text())["labels"]))
    with quiet_peft():
        base = base_network(len(labels))
        network = PeftModel.from_pretrained(base, str(folder), is_trainable=True).float()
    config = network.peft_config["default"]
    if config.base_model_name_or_path != BASE:
        raise ValueError(f"its base is {config.base_model_name_or_path}")
    tokenizer = base_tokenizer()
    tokenizer.enable_truncation(recipe.max_tokens)
    save = partial(save_adapter, network)
    return Tunable(network, tokenizer, labels, Assembly(pad_id=0), save)


def _open_checkpoint(folder: Path, recipe: Recipe) -> Tunable:
    checkpoint = read_checkpoint(folder)
    with refused(folder):
        prove(checkpoint, torch.device("cpu"))
    checkpoint.tokenizer.enable_truncation(min(recipe.max_tokens, checkpoint.window))
    network = checkpoint.network.requires_grad_(True)
    with quiet_peft():
        adapted = get_peft_model(
            network,
            LoraConfig(
                task_type=TaskType.SEQ_CLS,  # the head is trained whole
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules="all-linear",
            ),
        )
    save = partial(_save_checkpoint, adapted, checkpoint, folder)
    return Tunable(adapted, checkpoint.tokenizer, checkpoint.labels, checkpoint.assembly, save)


def _save_checkpoint(
    network: PeftModel, checkpoint: Checkpoint, source: Path, folder: Path
) -> None:
    """A whole checkpoint, the LoRA merged; its tokenizer has every file that its class saves, and
    those that were there are as they were.

    Raises:
        ConfigurationError: what was written would read texts differently.
    """
    merged = network.merge_and_unload()
    checkpoint.pads_with(None)  # a padding that the config did not name is proven anew
    merged.save_pretrained(str(folder))
    fresh = AutoTokenizer.from_pretrained(source, local_files_only=True)
    fresh.save_pretrained(str(folder))
    for name in {*checkpoint.files, *_OF_TOKENIZERS}:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    _read_alike(source, folder)


def _read_alike(source: Path, folder: Path) -> None:
    one, other = (
        AutoTokenizer.from_pretrained(each, local_files_only=True) for each in (source, folder)
    )
    added = [*one.get_added_vocab()]
    texts = [*TEXTS, " ".join(added), *(f"a {token} b" for token in added[:100])]
    if one.get_vocab() != other.get_vocab() or one(texts).input_ids != other(texts).input_ids:
        raise ConfigurationError(
            f"the tokenizer of {source} cannot be saved: it reads texts differently afterwards"
        )
