"""Fits a network's trainable weights to what people said, with checkpoints to go on from.

What both trainings share: the embedded adapter's first one, and every one on reviewed items.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from shared.models.template import Assembly

OnProgress = Callable[[float, str], None]  # the part done, 0..1, and what is being done
# The logits of a batch, float32 [rows, labels] or of tokens [rows, longest, tags], and which rows
# these are -> what is to become small.
Loss = Callable[[Tensor, list[int]], Tensor]

_PADDED = Assembly(pad_id=0)  # the embedded encoder's
_SORTED_BATCHES = 32  # batches of similar length are formed within this many shuffled ones


@dataclass(frozen=True)
class Recipe:
    """How to train. `rank`, `alpha` and `dropout` are those of a new adapter (LoRA); one that is
    trained on keeps its own."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.1
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    epochs: int = 3
    batch: int = 32
    max_tokens: int = 64


def optimise(
    network: torch.nn.Module,
    tokens: Sequence[list[int]],
    loss_of: Loss,
    recipe: Recipe,
    order: random.Random,
    progress: OnProgress,
    *,
    assembly: Assembly = _PADDED,
    checkpoint: Path | None = None,
) -> torch.nn.Module:
    """Fit the trainable weights of `network` so that the loss becomes small; `assembly` makes a
    batch of rows, as where the network is served.

    AdamW, warm-up, then linear decay; bf16 autocast on CPU. With `checkpoint` the state is written
    there after every epoch, and an existing file is resumed from: to the same end, bit for bit, as
    without the interruption.
    """
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    head = [p for n, p in trained.items() if "lora_" not in n]
    lora = [p for n, p in trained.items() if "lora_" in n]
    optimizer = torch.optim.AdamW(
        [
            {"params": lora, "lr": recipe.learning_rate},
            {"params": head, "lr": recipe.head_learning_rate},
        ],
        weight_decay=recipe.weight_decay,
    )
    epochs = [
        _batches(tokens, recipe.batch, order, alike=assembly.alike) for _ in range(recipe.epochs)
    ]
    steps = sum(map(len, epochs))
    warmup = max(1, round(recipe.warmup_share * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 1 - step / steps)
    )
    first = 0
    if checkpoint is not None and checkpoint.is_file():
        first = _resume(checkpoint, trained, optimizer, schedule)
    network.train()
    done = sum(map(len, epochs[:first]))
    for epoch, batches in enumerate(epochs[first:], first + 1):
        for batch in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = network(**assembly([tokens[i] for i in batch])).logits
            loss = loss_of(scores.float(), batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimizer.step()
            schedule.step()
            done += 1
            progress(done / steps, f"training, loss {loss.item():.3f}")
        if checkpoint is not None:
            _write(checkpoint, epoch, trained, optimizer, schedule)
    return network.eval()


def one_of(shares: Tensor) -> Loss:
    """One label among several: `shares`, float [n, labels], are those of people; rows sum to 1."""
    return lambda logits, rows: torch.nn.functional.cross_entropy(logits, shares[rows])


def by_length(
    indices: Sequence[int], tokens: Sequence[list[int]], size: int, *, alike: bool = False
) -> Iterator[list[int]]:
    """The indices in batches of `size`, rows of similar length together; `alike`: of equal length,
    and batches may be smaller."""
    ranked = sorted(indices, key=lambda index: len(tokens[index]))
    for _, group in groupby(ranked, key=lambda index: len(tokens[index]) if alike else 0):
        rows = list(group)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _batches(
    tokens: Sequence[list[int]], size: int, order: random.Random, *, alike: bool
) -> list[list[int]]:
    """One epoch: every index once, batches of similar length, in random order. A text without any
    token teaches nothing."""
    shuffled = [index for index, row in enumerate(tokens) if row]
    order.shuffle(shuffled)
    chunk = size * _SORTED_BATCHES
    batches = [
        batch
        for start in range(0, len(shuffled), chunk)
        for batch in by_length(shuffled[start : start + chunk], tokens, size, alike=alike)
    ]
    order.shuffle(batches)
    return batches


def _write(
    path: Path,
    epoch: int,
    trained: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> None:
    state = {
        "epoch": epoch,
        "weights": {name: weight.detach() for name, weight in trained.items()},
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "dropout": torch.get_rng_state(),
    }
    written = path.with_suffix(".new")
    torch.save(state, written)
    os.replace(written, path)


def _resume(
    path: Path,
    trained: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
) -> int:
    """How many epochs are done."""
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(state["weights"][name])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["dropout"])
    return int(state["epoch"])
