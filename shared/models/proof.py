"""Tries out how long a checkpoint's rows may be, and how they may be put together."""

from dataclasses import replace

import torch

from shared.errors import ConfigurationError
from shared.models import batch_invariance
from shared.models.batch_invariance import Score
from shared.models.reading import Checkpoint
from shared.models.template import Assembly
from shared.models.trial import own_words, row_of, rows_of

# Attention costs the square of the window, and few heads were tuned on more: longer texts are
# scored by windows instead.
MAX_WINDOW_TOKENS = 512
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")


def prove(checkpoint: Checkpoint, device: torch.device) -> None:
    """Find out its window, that it is sound, and how its rows may be put together; the network is
    on `device`.

    Raises:
        ConfigurationError: it is random, or answers all texts alike, or not at all.
    """
    network, plain, of_tokens = checkpoint.network, checkpoint.assembly, checkpoint.of_tokens

    def score(assembly: Assembly) -> Score:
        # Alone it is asked as it is; a batch needs a padding that its config knows of.
        checkpoint.pads_with(-1 if assembly.alike else assembly.pad_id)
        return batch_invariance.answering(network, assembly, device, of_tokens=of_tokens)

    as_it_is = batch_invariance.answering(network, plain, device, of_tokens=of_tokens)
    size = getattr(network.config.get_text_config(), "vocab_size", None)
    special = {*checkpoint.own_tokenizer.all_special_ids, *checkpoint.template.framed([])}
    words = own_words(checkpoint.tokenizer, special, size if isinstance(size, int) else None)
    checkpoint.window = batch_invariance.window(
        as_it_is, lambda length: row_of(checkpoint.template, words, length), _promised(checkpoint)
    )
    rows = rows_of(checkpoint.tokenizer, checkpoint.template, words, checkpoint.window)
    alone = batch_invariance.sound(as_it_is, rows)
    checkpoint.rows, checkpoint.alone = rows, alone
    padded = [replace(plain, side="right"), replace(plain, side="left")]
    padded = padded if checkpoint.paddable else []
    checkpoint.assembly = batch_invariance.chosen(
        score, rows, alone, padded, replace(plain, alike=True)
    )
    score(checkpoint.assembly)  # leaves the config as the chosen one needs it


def differs(checkpoint: Checkpoint, score: Score) -> str:
    """Why another way to compute a proven checkpoint is not as good; empty where it is."""
    if checkpoint.rows is None:
        raise ValueError("nothing is proven of it yet")
    return batch_invariance.batching_problem(score, checkpoint.rows, checkpoint.alone, alike=False)


def _promised(checkpoint: Checkpoint) -> int:
    """The window by config, tokenizer and position table."""
    network = checkpoint.network
    limits = [MAX_WINDOW_TOKENS]
    config = network.config.get_text_config()
    # RoBERTa and its kin count positions from the padding's id on, so they have fewer.
    offsets = [
        module.padding_idx + 1
        for name, module in network.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    for name in _POSITIONS:
        positions = getattr(config, name, None)
        if isinstance(positions, int) and positions > 0:  # XLNet says -1: without end
            limits.append(positions - max(offsets, default=0))
    promised = checkpoint.own_tokenizer.model_max_length  # 10^30 where it knows no limit, or 0
    if isinstance(promised, int | float) and 0 < promised < MAX_WINDOW_TOKENS:
        limits.append(int(promised))
    least = max(len(checkpoint.template.framed([])) + 1, batch_invariance.SHORTEST_WINDOW)
    if min(limits) < least:
        raise ConfigurationError(f"a window of {min(limits)} tokens is too short for a text")
    return min(limits)
