"""Reads a transformers classifier of texts or tokens from its folder, the same for serving and for
training, and says by name what makes it unusable.

transformers fills what is missing with random numbers, makes up tokenizers and leaves out weights
that it does not know: each of them would answer, and wrongly. Importing this takes seconds.
"""

import inspect
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from shared.errors import ConfigurationError, reason_of
from shared.labels import of_model
from shared.models.literal import literal, may_be_in_a_text
from shared.models.pretrained import quiet_loading
from shared.models.task import LABEL, Task
from shared.models.template import Assembly, Template, template_of
from shared.models.trial import Rows

_LFS_POINTER = b"version https://git-lfs"
_OF_TOKENS = "ForTokenClassification"


@dataclass
class Checkpoint:
    """A classifier on the CPU in float32, and all that is needed to put texts into it.

    `tokenizer` neither pads nor truncates nor reads special tokens from texts. `window` counts
    tokens, special ones included. `assembly` is how rows become a batch that changes no answer;
    `files` are those of the tokenizer's class, and `paddable` says that there is an id to pad with.
    `of_tokens`: it answers for each token. `template` is around a text; of those with a hypothesis
    the longest.
    """

    network: PreTrainedModel
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    template: Template
    files: frozenset[str]
    own_tokenizer: PreTrainedTokenizerBase
    paddable: bool
    assembly: Assembly
    of_tokens: bool = False
    window: int = 0
    alone: list[Tensor] = field(default_factory=list)
    rows: Rows | None = None
    _padless: list[Any] = field(default_factory=list)

    def pads_with(self, pad_id: int | None) -> None:
        """Tell the network the padding's id where its own config names none; None: as it was."""
        for config in self._padless:
            config.pad_token_id = pad_id


def read_checkpoint(folder: Path, task: Task = LABEL) -> Checkpoint:
    """What is in `folder`, without any network; nothing is proven of it yet.

    Raises:
        ConfigurationError: it is no classifier for this task with all its weights and its own
            tokenizer; or it cannot be read, whatever goes wrong.
    """
    with refused(folder):
        _look(folder)
        network = _network(folder, task)
        own = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        _check_tokenizer_files(folder, own)
        if not own.is_fast:
            raise ConfigurationError("it has no tokenizer.json, and none can be made from it")
        backend = own.backend_tokenizer
        backend.no_padding()  # many checkpoints bake padding and truncation into tokenizer.json
        backend.no_truncation()
        tokenizer = literal(backend, map(str, own.all_special_tokens))
        template = max(
            (template_of(tokenizer, asked) for asked in task.hypotheses or (None,)),
            key=lambda each: len(each.suffix),
        )
        network.train(False).requires_grad_(False)
        takes = inspect.signature(network.forward).parameters
        text = network.config.get_text_config()
        padless = [
            config
            for config in {id(c): c for c in (network.config, text)}.values()
            if getattr(config, "pad_token_id", None) is None
        ]
        pad_id = text.pad_token_id if not padless else _padding_no_text_has(tokenizer, own)
        typed = "token_type_ids" in takes and "token_type_ids" in own.model_input_names
        return Checkpoint(
            network=network,
            tokenizer=tokenizer,
            labels=_labels(network.config, task),
            template=template,
            files=frozenset(own.vocab_files_names.values()),
            own_tokenizer=own,
            paddable=pad_id is not None,
            assembly=Assembly(
                pad_id=-1 if pad_id is None else pad_id,
                types=template if typed else None,
                mask="attention_mask" in takes,
            ),
            of_tokens=task.answers == "spans",
            _padless=padless,
        )


class refused:
    """Whatever goes wrong inside becomes one error that names the folder and says why."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # A panic of tokenizers or safetensors, which are written in Rust, is no Exception.
        if error is None or isinstance(error, KeyboardInterrupt | SystemExit):
            return
        why = reason_of(error)
        if isinstance(error, pickle.UnpicklingError):
            why = (
                "its weights are a .bin file that holds more than numbers, and reading that would "
                "run whatever it says: save them as safetensors"
            )
        raise ConfigurationError(f"{self._folder} holds no usable model: {why}") from error


def _look(folder: Path) -> None:
    """Refuses by name what git left in the place of a large file."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_LFS_POINTER))
            if start == _LFS_POINTER:
                raise ConfigurationError(
                    f"{path.name} is a git-LFS pointer, not the file itself: run `git lfs pull`"
                )


def _network(folder: Path, task: Task) -> PreTrainedModel:
    of_tokens = task.answers == "spans"
    family: Any = (
        AutoModelForTokenClassification if of_tokens else AutoModelForSequenceClassification
    )
    with quiet_loading():
        network, told = family.from_pretrained(
            folder,
            local_files_only=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # to name them
            output_loading_info=True,
        )
    # transformers would fill both with random numbers and only warn.
    if others := {
        f"{key} is {tuple(is_)}, not {tuple(told_)}" for key, is_, told_ in told["mismatched_keys"]
    }:
        raise ConfigurationError(
            f"its weights have other shapes than its config says: {_listed(others)}"
        )
    if lacking := {str(key) for key in told["missing_keys"]}:
        what = "classifier of tokens" if of_tokens else "text classifier"
        raise ConfigurationError(f"no trained {what}: its weights lack {_listed(lacking)}")
    # Its weights may fit all the same: the heads of both have the same names and shapes.
    made = [str(name) for name in network.config.architectures or ()]
    if made and of_tokens != any(name.endswith(_OF_TOKENS) for name in made):
        wanted = "tokens" if of_tokens else "texts"
        raise ConfigurationError(f"it is a {', '.join(made)}, no classifier of {wanted}")
    if foreign := _of_the_encoder(network, told["unexpected_keys"]):
        raise ConfigurationError(
            f"it has weights that transformers leaves out, and answers worse: {_listed(foreign)}"
        )
    return network  # type: ignore[no-any-return]  # no types there


def _of_the_encoder(network: PreTrainedModel, unexpected: Sequence[str]) -> set[str]:
    """Those that belong to what a text goes through; not those of other heads (of pretraining, a
    pooler that this head does not use), nor what is computed and not learned."""
    inside = f"{network.base_model_prefix}."
    computed = {name for name, _ in network.named_buffers()}
    heads = (f"{inside}pooler.", f"{inside}lm_head.")
    return {
        key
        for key in map(str, unexpected)
        if key.startswith(inside) and not key.startswith(heads) and key not in computed
    }


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_tokenizer_files(folder: Path, own: PreTrainedTokenizerBase) -> None:
    """transformers makes up a tokenizer of its special tokens where there are no files."""
    if (folder / "tokenizer.json").is_file() or (folder / "tekken.json").is_file():
        return
    names = own.vocab_files_names
    needed = [names[key] for key in ("vocab_file", "merges_file") if key in names]
    lacking = [name for name in needed if not (folder / name).is_file()]
    others = any(path.suffix in (".model", ".tiktoken") for path in folder.iterdir())
    if needed and lacking and not (others and len(needed) == len(lacking)):
        raise ConfigurationError(
            f"it has no tokenizer: neither tokenizer.json nor {' and '.join(lacking)} was found"
        )


def _padding_no_text_has(tokenizer: Tokenizer, own: PreTrainedTokenizerBase) -> int | None:
    """For a head that looks for the last token before the padding, and was told of none: a token
    that may stand in a text would move the place where it looks."""
    for number, name in ((own.pad_token_id, own.pad_token), (own.eos_token_id, own.eos_token)):
        if isinstance(number, int) and not may_be_in_a_text(tokenizer, str(name)):
            return number
    return None


def _labels(config: Any, task: Task) -> tuple[str, ...]:
    many = "multi_label_classification"
    if task.answers == "labels" and not task.hypothesis:
        if config.problem_type != many:
            raise ConfigurationError(
                f"it does not judge each label by itself: problem_type of its config is "
                f"{config.problem_type!r}, not {many!r}"
            )
    elif config.num_labels < 2 or config.problem_type in ("regression", many):
        raise ConfigurationError("it does not choose one label among several")
    names = config.id2label
    if sorted(names) != list(range(config.num_labels)):
        raise ConfigurationError(
            f"id2label of its config numbers the labels {', '.join(map(str, sorted(names)))}, not "
            f"0 to {config.num_labels - 1}"
        )
    return of_model(names, config.num_labels)
