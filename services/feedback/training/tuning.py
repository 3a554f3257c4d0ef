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

import numpy as np
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from tokenizers import Encoding, Tokenizer
from transformers import AutoTokenizer

from services.feedback.quality import Floats
from services.feedback.training.examples import TrainingExample
from services.feedback.training.fitting import Recipe, by_length
from services.feedback.training.teaching import Temperature, fitted
from shared.answers.base import Kind
from shared.errors import ConfigurationError
from shared.models.minilm import BASE, base_folder, base_tokenizer
from shared.models.pretrained import base_network, base_tagger
from shared.models.proof import prove
from shared.models.reading import Checkpoint, read_checkpoint, refused
from shared.models.task import Task
from shared.models.template import Assembly
from shared.models.trial import TEXTS

CALIBRATION = "calibration.json"
_HEADS = r"(classifier|score)"  # of tokens
_SCORED = 32  # texts together
# Whatever the class, beside the files that the class names.
_OF_TOKENIZERS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


@dataclass(frozen=True)
class Tunable:
    """A network with trainable parts, what each of its scores is for (labels, or tags), and its
    tokens. `save` writes to a folder what inference loads, all but the temperature."""

    network: PeftModel
    tokenizer: Tokenizer
    outputs: tuple[str, ...]
    assembly: Assembly
    save: Callable[[Path], None]

    def read(self, texts: Sequence[str]) -> list[Encoding]:
        """The tokens of each text, cut at the recipe's length."""
        return self.tokenizer.encode_batch(list(texts))

    def logits(self, read: Sequence[Encoding]) -> list[Floats]:
        """The scores of each text: [outputs], or of its tokens [tokens, outputs]."""
        rows = [each.ids for each in read]
        found = [np.zeros(0)] * len(rows)
        self.network.eval()
        with torch.inference_mode():
            for batch in by_length(range(len(rows)), rows, _SCORED, alike=self.assembly.alike):
                together = self.assembly([rows[i] for i in batch])
                logits = self.network(**together).logits.double().numpy()
                longest = together["input_ids"].shape[1]
                for at, i in enumerate(batch):
                    place = self.assembly.place(rows[i], longest)
                    found[i] = logits[at] if logits.ndim == 2 else logits[at, place]
        return found

    def temperature(
        self,
        kind: Kind,
        examples: Sequence[TrainingExample],
        weights: Floats,
        prior: Temperature | None,
    ) -> Temperature:
        """The one by which its scores of these examples mean what they say."""
        read = self.read([example.text for example in examples])
        return fitted(kind, self.logits(read), examples, read, self.outputs, weights, prior)


def open_tunable(folder: Path, recipe: Recipe, kind: Kind = "label") -> Tunable:
    """The model in `folder`, which gives answers of this kind, ready to be trained on.

    Raises:
        ConfigurationError: it holds no model of a kind that can be.
    """
    try:
        if (folder / "adapter_config.json").is_file():
            return _open_adapter(folder, recipe)
        return _open_checkpoint(folder, recipe, kind)
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


def write_fresh(folder: Path, kind: Kind, outputs: Sequence[str], seed: int) -> None:
    """Write the embedded encoder as a checkpoint with a head that has learned nothing."""
    torch.manual_seed(seed)
    network = base_tagger(len(outputs)) if kind == "spans" else base_network(len(outputs))
    network.config.id2label = dict(enumerate(outputs))
    network.config.label2id = {name: number for number, name in enumerate(outputs)}
    if kind == "labels":
        network.config.problem_type = "multi_label_classification"
    network.save_pretrained(str(folder))
    for name in (*_OF_TOKENIZERS, "vocab.txt"):
        if (base_folder() / name).is_file():
            shutil.copyfile(base_folder() / name, folder / name)


def read_temperature(folder: Path) -> Temperature | None:
    """What its calibration says; None without one."""
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    found: Temperature = json.loads(path.read_text())["temperature"]
    return found


def write_temperature(parent: Path, folder: Path, temperature: Temperature) -> None:
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


def _open_checkpoint(folder: Path, recipe: Recipe, kind: Kind) -> Tunable:
    if kind not in ("label", "labels", "spans"):
        raise ValueError(f"answers of kind {kind} are not learned")
    checkpoint = read_checkpoint(folder, Task(kind))
    with refused(folder):
        prove(checkpoint, torch.device("cpu"))
    checkpoint.tokenizer.enable_truncation(min(recipe.max_tokens, checkpoint.window))
    network = checkpoint.network.requires_grad_(True)
    with quiet_peft():
        adapted = get_peft_model(
            network,
            LoraConfig(
                # The head is trained whole.
                task_type=TaskType.TOKEN_CLS if kind == "spans" else TaskType.SEQ_CLS,
                r=recipe.rank,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                target_modules="all-linear",
                # peft leaves out only the heads that classify whole texts.
                exclude_modules=_HEADS if kind == "spans" else None,
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
