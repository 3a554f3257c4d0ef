"""Tiny random checkpoints with a tokenizer that cuts words into pieces, made where a test asks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PIECES = (
    *("peter", "ann", "of", "acme", "in", "berlin", "owes", "euros", "this", "text", "is", "about"),
    *("film", "good", "bad", "money", "people", ".", ",", "-", "\U0001f600", "ber", "ac", "pe"),
    *("##lin", "##ter", "##me", "##s", "##nn", "##x", "x", "a", "b", "é", "i", "北", "京"),
)
WINDOW = 40


def tokenizer(inputs: Sequence[str]) -> PreTrainedTokenizerFast:
    """BERT's way to cut: words, then their longest known pieces."""
    vocabulary = {piece: number for number, piece in enumerate((*SPECIAL, *PIECES))}
    pieces = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(strip_accents=False)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no types there
        tokenizer_object=pieces,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=WINDOW,
        model_input_names=inputs,
    )


def write(
    folder: Path,
    names: Sequence[str],
    *,
    architecture: str = "bert",
    of_tokens: bool = False,
    **more: Any,
) -> str:
    """A classifier with these classes, of texts or of their tokens."""
    torch.manual_seed(7)
    told: dict[str, Any] = {
        "vocab_size": len(SPECIAL) + len(PIECES),
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "pad_token_id": 0,
        **more,
    }
    small: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32}
    config: Any
    if architecture == "distilbert":
        config = DistilBertConfig(
            dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=WINDOW, **told
        )
    elif architecture == "roberta":
        config = RobertaConfig(
            **small, intermediate_size=64, max_position_embeddings=WINDOW + 1, **told
        )
    else:
        config = BertConfig(**small, intermediate_size=64, max_position_embeddings=WINDOW, **told)
    family: Any = (
        AutoModelForTokenClassification if of_tokens else AutoModelForSequenceClassification
    )
    network = family.from_config(config)
    for parameter in network.parameters():  # the usual start is too even to tell texts apart
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    typed = ["token_type_ids"] if architecture == "bert" else []
    tokenizer(["input_ids", *typed, "attention_mask"]).save_pretrained(folder)
    return str(folder)
