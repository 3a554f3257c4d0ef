"""Proves that a model gives a text the answer that it gives it alone, whatever it is scored with.

Many architectures do not: what is padded changes their convolutions, Fourier transforms, means or
the place where the head looks. They are scored in rows of equal length. What is random, or answers
every text alike, is no model to decide by and is refused. The proof is made of a few rows at load.
"""

import logging
from collections.abc import Callable, Sequence
from inspect import signature

import torch
from torch import Tensor, nn

from shared.errors import ConfigurationError, reason_of
from shared.models.template import Assembly
from shared.models.trial import Rows

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # of a logit, or of the largest where that is above 1
SHORTEST_WINDOW = 8  # tokens

Score = Callable[[Sequence[Sequence[int]]], Tensor]


def answering(
    network: nn.Module, assembly: Assembly, device: torch.device, *, of_tokens: bool = False
) -> Score:
    """Scores rows by the network as they are assembled: logits [rows, labels]; `of_tokens`:
    [tokens, labels], one row's after the other's."""
    # A cache is for who writes on; transformers' own pipeline has none here, either.
    more = {"use_cache": False} if "use_cache" in signature(network.forward).parameters else {}

    @torch.no_grad()  # what a network keeps of it may be trained with later
    def score(rows: Sequence[Sequence[int]]) -> Tensor:
        batch = {name: each.to(device) for name, each in assembly(rows).items()}
        logits: Tensor = network(**batch, **more).logits
        return _unpadded(logits, rows, assembly) if of_tokens else logits

    return score


def sound(score: Score, rows: Rows) -> list[Tensor]:
    """The answers to each row alone, float64 [labels] each; not finite where the model is not.

    Raises:
        ConfigurationError: they are random, or the same for different texts, or never finite.
    """
    first = [_alone(score, row) for row in rows.all]
    finite = [answer for answer in first if answer.isfinite().all()]
    if not finite:
        raise ConfigurationError("its scores are not finite")
    again = [_alone(score, row) for row in rows.all]
    if not all(map(_close, first, again)):
        raise ConfigurationError("it answers the same text differently from call to call")
    pair = first[:2] if all(answer.isfinite().all() for answer in first[:2]) else finite[:2]
    comparable = len(pair) == 2 and pair[0].shape == pair[1].shape
    if comparable and torch.allclose(pair[0], pair[1], rtol=1e-7, atol=1e-9):
        raise ConfigurationError("it gives different texts the same scores")
    return first


def batching_problem(score: Score, rows: Rows, alone: Sequence[Tensor], *, alike: bool) -> str:
    """Why the answers of a batch are not those of its rows alone; empty where they are. `alike`
    tries only batches of equally long rows."""
    answer = {tuple(row): logits for row, logits in zip(rows.all, alone, strict=True)}
    batches = [[rows.one, rows.other], [rows.long, rows.long]]
    if not alike:
        batches += [[rows.one, *rows.mixed], [rows.one, rows.long, *rows.mixed[:1]]]
    for batch in batches:
        try:
            together = by_row(score(batch).double().cpu(), batch)
        except Exception as error:
            return reason_of(error)
        for row, logits in zip(batch, together, strict=True):
            if not _close(answer[tuple(row)], logits):
                off = float((answer[tuple(row)] - logits).abs().max())
                return f"a logit is off by {off:.1e}"
    return ""


def window(score: Score, row: Callable[[int], list[int]], most: int) -> int:
    """The longest row that can be scored, up to `most` tokens, which is what the config promises;
    `row` makes one of a length.

    Raises:
        ConfigurationError: not even a short one can.
    """

    def problem(length: int) -> str:
        try:
            score([row(length)])
        except Exception as error:
            return reason_of(error)
        return ""

    if not problem(most):
        return most
    low, high = SHORTEST_WINDOW, most
    if why := problem(low):
        raise ConfigurationError(f"it cannot score a text: {why}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if problem(middle) else (middle, high)
    logger.warning(
        "the model's window is shorter than its config says",
        extra={"window": low, "promised": most},
    )
    return low


def chosen(
    score: Callable[[Assembly], Score],
    rows: Rows,
    alone: Sequence[Tensor],
    padded: Sequence[Assembly],
    alike: Assembly,
) -> Assembly:
    """The first of `padded` under which company changes nothing, else `alike`.

    Raises:
        ConfigurationError: not even in rows of equal length are the answers those alone.
    """
    why = ""
    for assembly in padded:
        if not (problem := batching_problem(score(assembly), rows, alone, alike=False)):
            return assembly
        why = why or problem
    if problem := batching_problem(score(alike), rows, alone, alike=True):
        raise ConfigurationError(f"its answers depend on what is scored with a text: {problem}")
    logger.warning(
        "padding changes this model's answers: it is scored in rows of equal length, slower",
        extra={"problem": why},
    )
    return alike


def by_row(logits: Tensor, rows: Sequence[Sequence[int]]) -> Sequence[Tensor]:
    """Each row's: one answer, or one for each of its tokens."""
    if len(logits) == len(rows):
        return logits.unbind()
    return torch.split(logits, [len(row) for row in rows])


def _unpadded(logits: Tensor, rows: Sequence[Sequence[int]], assembly: Assembly) -> Tensor:
    longest = max(map(len, rows))
    if logits.shape[:2] != (len(rows), longest):
        raise ConfigurationError("it does not answer once for each token")
    return torch.cat([logits[at, assembly.place(row, longest)] for at, row in enumerate(rows)])


def _alone(score: Score, row: list[int]) -> Tensor:
    return by_row(score([row]), [row])[0].double().cpu()


def _close(one: Tensor, other: Tensor) -> bool:
    largest = float(one.abs().nan_to_num(0.0, 0.0).max())
    return torch.allclose(one, other, rtol=0.0, atol=TOLERANCE * max(1.0, largest), equal_nan=True)
