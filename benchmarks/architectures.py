"""Which text classifiers of transformers answer here as in its own pipeline, and which are refused?

`bin/bench architectures --write` tries every architecture and writes the table of
docs/operate/models.md.

The checkpoints are tiny and random, made here from each architecture's own configuration: what is
compared is how texts go through it, alone, together and at the window's edge.
"""

import json
import os
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CONFIG_MAPPING,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)
from transformers import __version__ as transformers_version
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)

from services.inference.classifier import load
from services.inference.loading import load_head
from shared.errors import ConfigurationError
from shared.models.pretrained import quiet_loading
from shared.models.task import LABEL, Task

PAGE = Path(__file__).parent.parent / "docs" / "operate" / "models.md"
ARCHITECTURES = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
# Not those whose own class of tokenizer drops the words of ours (qwen2, qwen3_5), that the pipeline
# itself cannot answer with (qwen3_next), or that the names below do not make small (qwen3_asr).
_NOT_TAGGED = {"qwen2", "qwen3_5", "qwen3_asr", "qwen3_next"}
OF_TOKENS = tuple(
    name for name in MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES if name not in _NOT_TAGGED
)
TOLERANCE = 1e-4  # of a probability
_SHORT = 4  # words: some attend to windows, and take no text that is shorter than one
WORDS = (
    *("the", "film", "was", "good", "bad", "dull", "a", "joy", "to", "watch", "and", "nothing"),
    *("else", "no", "this", "is", "not", "at", "all", "what", "i", "had"),
)
_SPECIAL = ("<pad>", "<unk>", "<cls>", "<sep>", "<mask>")
_BEGIN, _END = "<!-- architectures -->", "<!-- end -->"
_LABELS = 3
# By the names that configurations use; each takes those that it knows.
_SMALL: dict[str, int] = {
    **dict.fromkeys(
        ("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "d_latents"), 32
    ),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("num_key_value_heads", "num_cross_attention_heads"), 2),
    **dict.fromkeys(("intermediate_size", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), 64),
    **dict.fromkeys(("ffn_dim", "n_inner", "hidden_dim", "d_inner", "dff"), 64),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 40),
    **dict.fromkeys(("head_dim", "d_kv", "d_head", "word_embed_proj_dim"), 16),
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "v_head_dim"), 16),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "first_k_dense_replace"), 1),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "entity_emb_size"), 16),
    **dict.fromkeys(("sliding_window", "attention_window", "num_latents"), 8),
    **dict.fromkeys(("num_blocks", "num_self_attends_per_block", "num_random_blocks"), 1),
    **dict.fromkeys(("pronunciation_embed_dim", "shape_embed_dim"), 8),
    **dict.fromkeys(("pronunciation_vocab_size", "shape_vocab_size", "entity_vocab_size"), 10),
    "vocab_size": len(_SPECIAL) + len(WORDS),
    "num_hash_buckets": 64,
    "xpath_unit_hidden_size": 16,
    "max_depth": 4,
    "block_size": 4,
    "coordinate_size": 4,
    "shape_size": 8,
    "global_attn_every_n_layers": 1,
    "mamba_d_state": 4,
    "mamba_dt_rank": 4,
}
_IDS = {
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "cls_token_id": 2,
    "sep_token_id": 3,
    "mask_token_id": 4,
    "unk_token_id": 1,
    "decoder_start_token_id": 0,
}
_TEXT: dict[str, Any] = {
    key: _SMALL[key]
    for key in (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
    )
} | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_LINEAR = {key: value for key, value in _SMALL.items() if key.startswith("linear_")}
# What the names above do not make small, or what must agree with something else.
_OWN: dict[str, dict[str, Any]] = {
    "axk1": {"head_dim": 8},
    "deepseek_v3": {"head_dim": 8},
    "gemma3": {"text_config": _TEXT, "vision_config": _VISION, "mm_tokens_per_image": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "layoutlmv3": {"visual_embed": False},
    "lilt": {"channel_shrink_ratio": 2, "hidden_size": 48},
    "modernvbert": {
        "text_config": {
            key: value
            for key, value in _TEXT.items()
            if key not in ("head_dim", "num_key_value_heads")
        },
        "vision_config": _VISION,
    },
    "qwen3_5": {
        "text_config": {
            **_TEXT,
            **_LINEAR,
            "layer_types": ["linear_attention", "full_attention"],
        },
        "vision_config": {
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
        },
    },
    "reformer": {
        "axial_pos_embds_dim": [16, 16],
        "axial_pos_shape": [4, 10],
        "attn_layers": ["local", "lsh"],
        "lsh_attn_chunk_length": 8,
        "local_attn_chunk_length": 8,
        "num_buckets": 2,
        "feed_forward_size": 32,
        "attention_head_size": 16,
        "is_decoder": False,
    },
    "t5": {"decoder_start_token_id": 0},
    "t5gemma": {"encoder": _TEXT, "decoder": _TEXT},
    "t5gemma2": {
        "encoder": {"text_config": _TEXT, "vision_config": _VISION},
        "decoder": _TEXT,
    },
    "xlm": {"summary_type": "mean"},
    "xmod": {"default_language": "en_XX"},
    "ultravbert": {
        "text_config": {**_TEXT, "layer_types": ["sliding_attention", "full_attention"]},
        "vision_config": _VISION,
    },
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 32,
        "use_mamba_kernels": False,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 32,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "use_mamba_kernels": False,
    },
}


class Found(NamedTuple):
    """What became of one architecture: `served` names how, or is empty and `why` says why not.
    `difference` is the largest of a probability from the pipeline's, over all texts."""

    architecture: str
    served: str
    why: str
    difference: float
    window: int

    @property
    def right(self) -> bool:
        """Served as the pipeline answers, or not at all."""
        return not self.served or self.difference <= TOLERANCE


def write(architecture: str, folder: Path, *, bare: bool = False, task: Task = LABEL) -> None:
    """A tiny random checkpoint with a tokenizer. `bare`: without special tokens around a text, and
    with a config that names no padding.

    Raises whatever transformers does where it cannot be made here (a library that is missing).
    """
    kind = CONFIG_MAPPING[architecture]
    known = kind().to_dict()
    wanted = {**_SMALL, **_IDS, "layer_types": None}
    values = {
        key: value
        for key, value in wanted.items()
        if key in known and (value is None or known[key] is None or type(known[key]) is int)
    }
    if bare:
        values["pad_token_id"] = None
    named: dict[str, Any] = {"num_labels": _LABELS}
    if task.answers == "labels":
        named |= {"problem_type": "multi_label_classification"}
    config = kind(**{**values, **_OWN.get(architecture, {}), **named})
    torch.manual_seed(5)
    family: Any = (
        AutoModelForTokenClassification
        if task.answers == "spans"
        else AutoModelForSequenceClassification
    )
    network: Any = family.from_config(config)
    for parameter in network.parameters():  # the usual start is too even to tell texts apart
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    with quiet_loading():
        network.save_pretrained(folder)
    _tokenizer(bare).save_pretrained(folder)


def _tokenizer(bare: bool) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if not bare:
        words.post_processor = processors.TemplateProcessing(
            "<cls> $A <sep>", special_tokens=[("<cls>", 2), ("<sep>", 3)]
        )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no types there
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<cls>",
        sep_token="<sep>",
        bos_token="<cls>",
        eos_token="<sep>",
        mask_token="<mask>",
    )


def compared(architecture: str, folder: Path, *, special: int) -> Found:
    """The checkpoint in `folder`, beside transformers' pipeline; `special`: tokens that its
    tokenizer puts around a text."""
    try:
        model = load(str(folder))
    except ConfigurationError as error:
        why = str(error).removeprefix(f"{folder} holds no usable model: ")
        return Found(architecture, "", why, 0.0, 0)
    reference = piped(folder)
    expected, texts = [], []
    for text in _texts(model.max_tokens - special):
        try:
            scores = reference(text)
        except Exception as error:
            if len(text.split()) > _SHORT:
                why = f"the pipeline fails on {len(text.split())} words: {error}"
                return Found(architecture, model.batches, why, inf, model.max_tokens)
            continue
        texts.append(text)
        expected.append([scores[label] for label in model.labels])
    answers = [
        [prediction.distribution for prediction in model.classify(texts)],
        [model.classify([text])[0].distribution for text in texts],
    ]
    off = max(
        abs(one - other)
        for found in answers
        for mine, theirs in zip(found, expected, strict=True)
        for one, other in zip(mine, theirs, strict=True)
    )
    return Found(architecture, model.batches, "", off, model.max_tokens)


def compared_as(task: Task, architecture: str, folder: Path) -> Found:
    """The checkpoint in `folder` as a model of label sets or spans, beside transformers' pipeline:
    the difference is the largest of a label's probability or of a span's score, infinite where a
    span is another one."""
    try:
        model = load_head(str(folder), task)
    except ConfigurationError as error:
        why = str(error).removeprefix(f"{folder} holds no usable model: ")
        return Found(architecture, "", why, 0.0, 0)
    off = 0.0
    texts = [text for text in _texts(20) if len(text.split()) > 2]
    with quiet_loading():
        kind = "token-classification" if task.answers == "spans" else "text-classification"
        more = {"aggregation_strategy": "first"} if task.answers == "spans" else {"top_k": None}
        reference: Any = pipeline(kind, model=str(folder), **more)  # type: ignore[call-overload]  # no types there
    for text, answer in zip(texts, model.classify(texts), strict=True):
        said = reference([text])[0]
        if isinstance(answer.parts, dict):
            theirs = {each["label"]: each["score"] for each in said}
            off = max(off, *(abs(theirs[name] - p) for name, p in answer.parts.items()))
            continue
        spans: Any = answer.answer["spans"]
        mine = [(span["start"], span["end"], span["label"]) for span in spans]
        if mine != [(each["start"], each["end"], each["entity_group"]) for each in said]:
            off = inf
        for p, each in zip(answer.parts or (), said, strict=False):
            off = max(off, abs(p - each["score"]))
    return Found(architecture, model.batches, "", off, 0)


def piped(folder: Path) -> Callable[[str], dict[str, float]]:
    """What transformers' own pipeline says of one text: its probabilities by label."""
    with quiet_loading():
        reference: Any = pipeline("text-classification", model=str(folder), top_k=None)

    def scores(text: str) -> dict[str, float]:
        return {one["label"]: one["score"] for one in reference([text])[0]}

    return scores


def _texts(room: int) -> list[str]:
    """Of one word up to all that there is room for in the window; some equally long."""
    chosen = random.Random(1)
    return [" ".join(chosen.choices(WORDS, k=length)) for length in (1, 3, 3, 4, 7, 12, room)]


def tried(architecture: str, *, bare: bool = False, task: Task = LABEL) -> Found:
    """One architecture, from its configuration to the comparison."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        try:
            write(architecture, folder, bare=bare, task=task)
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            return Found(architecture, "", f"not made here: {first}", 0.0, 0)
        if task.answers != "label":
            return compared_as(task, architecture, folder)
        return compared(architecture, folder, special=0 if bare else 2)


def table(found: Sequence[tuple[Found, Found]]) -> str:
    """As Markdown: with template and padding, and without both."""
    rows = [
        f"| {framed.architecture} | {_cell(framed)} | {_cell(bare)} |" for framed, bare in found
    ]
    lines = ["| architecture | as usual | without template and padding id |", "|---|---|---|"]
    return "\n".join([*lines, *rows])


def _cell(found: Found) -> str:
    if found.served:
        how = {"packed": "packed", "padded": "padded", "equal_lengths": "equal lengths"}
        return how[found.served] + ("" if found.right else f", **off by {found.difference:.0e}**")
    short = re.sub(r"\s+", " ", found.why).replace("|", "/")
    return f"refused: {short[:90]}{'…' if len(short) > 90 else ''}"


def main(arguments: Sequence[str]) -> int:
    """Try all, print and write the table; the last line is one JSON object."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = []
    for architecture in ARCHITECTURES:
        pair = tried(architecture), tried(architecture, bare=True)
        found.append(pair)
        print(f"{architecture}: {_cell(pair[0])}; {_cell(pair[1])}", file=sys.stderr)
    each = [one for pair in found for one in pair]
    counts = {
        "architectures": len(found),
        "served": sum(bool(one.served) for one in each),
        "refused": sum(not one.served for one in each),
        "wrong": sum(not one.right for one in each),
    }
    if "--write" in arguments:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
        said = f"Tried with transformers {transformers_version}:"
        made = f"{head}{_BEGIN}\n{said}\n\n{table(found)}\n{_END}{rest.partition(_END)[2]}"
        PAGE.write_text(made, encoding="utf-8")
    print(table(found))
    print(json.dumps(counts))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
