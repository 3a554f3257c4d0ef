"""The classifier: texts of any length in, calibrated distributions over the labels out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.inference import embedded
from services.inference.batcher import Cut, cut, plan
from services.inference.model import Model
from services.inference.precision import Precision
from services.inference.proving import NO_PROOF, Proof, in_bf16_if_proven
from shared.errors import ConfigurationError, Permanent, reason_of
from shared.labels import distinct, label_key
from shared.models.template import template_of
from shared.service.settings import Settings

TOKEN_BUDGET_CPU = 512  # larger batches gain nothing there and delay the first answer
TOKEN_BUDGET_GPU = 32_768
MAX_WINDOWS = 8
OVERLAP_SHARE = 0.25  # of a window, with the next one
_CHARACTERS_PER_TOKEN = 64  # far more than any script needs; see `_encode`
_NO_MEMORY = "can't allocate memory"  # of torch's allocator for processors
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?(@\w[\w./-]*)?")


class Prediction(NamedTuple):
    """The model's answer for one text.

    `distribution` holds a probability per label, in the order of `Classifier.labels`; its sum
    is 1. `tokens` counts those of the text without special tokens; `windows` is how many passes
    through the model it took, and `truncated` says that part of the text was in none of them.
    """

    distribution: tuple[float, ...]
    truncated: bool
    windows: int
    tokens: int


class Classifier:
    """A model, the order of its labels and the size of its batches.

    Not for several threads at once: torch would only make them wait for each other.
    """

    def __init__(self, model: Model, labels: Sequence[str] | None, token_budget: int) -> None:
        self._model = model
        self._budget = token_budget
        self.labels = tuple(labels) if labels is not None else model.labels
        self._order = _order(model.labels, self.labels)
        self.model_version = model.version
        self.max_tokens = model.max_tokens
        self.temperature = model.temperature
        self.sha256 = model.sha256
        self.batches = model.batches
        self._template = template_of(model.tokenizer)
        self._room = model.max_tokens - len(self._template.framed([]))

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """Score `texts`; the answers are in their order and do not depend on the other texts.

        A text that is longer than the window is scored by up to `MAX_WINDOWS` overlapping windows;
        its logits are their mean, weighted by their tokens, so that a short rest counts little.

        Raises:
            Permanent: the scores of a text are not finite (`not_finite`), or nothing of it is left
                to score (`unscorable`); score its neighbours in another call.
            MemoryError: there is not enough. What else the model raises passes through.
        """
        encoded = [self._encode(text) for text in texts]
        pieces = [
            (index, self._template.framed(tokens[start:end]), max(end - start, 1))
            for index, (tokens, parts) in enumerate(encoded)
            for start, end in parts.spans
        ]
        for index, ids, _ in pieces:
            if not ids:
                raise Permanent("unscorable", f"text {index} has no token that the model knows")
        sums = np.zeros((len(texts), len(self._model.labels)))
        weights = np.zeros((len(texts), 1))
        lengths = [len(ids) for _, ids, _ in pieces]
        pads, alike = self.batches != "packed", self.batches == "equal_lengths"
        for batch in plan(lengths, self._budget, pads=pads, alike=alike):
            logits = self._logits([pieces[i][1] for i in batch])
            for row, i in zip(logits.double().cpu().numpy(), batch, strict=True):
                index, _, weight = pieces[i]
                sums[index] += row * weight
                weights[index] += weight
        bad = np.flatnonzero(~np.isfinite(sums).all(axis=1))
        if bad.size:
            raise Permanent("not_finite", f"the model's scores of text {bad[0]} are not finite")
        distributions = _softmax(sums / weights / self.temperature)[:, self._order]
        return [
            Prediction(tuple(row.tolist()), parts.truncated, len(parts.spans), len(tokens))
            for row, (tokens, parts) in zip(distributions, encoded, strict=True)
        ]

    def _logits(self, rows: Sequence[Sequence[int]]) -> Tensor:
        try:
            return self._model.network(rows)
        except RuntimeError as error:  # torch has no MemoryError
            if isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY in str(error):
                raise MemoryError(str(error)) from error
            raise

    def _encode(self, text: str) -> tuple[list[int], Cut]:
        # No window reaches beyond this many characters; reading a megabyte costs half a second.
        readable = text[: MAX_WINDOWS * self._room * _CHARACTERS_PER_TOKEN]
        # The tokenizer refuses a lone surrogate, which JSON can carry.
        readable = readable.encode("utf-8", "replace").decode("utf-8")
        tokens = self._model.tokenizer.encode(readable, add_special_tokens=False).ids
        parts = cut(len(tokens), self._room, int(self._room * OVERLAP_SHARE), MAX_WINDOWS)
        return tokens, parts._replace(truncated=parts.truncated or len(readable) < len(text))


def load(
    model: str,
    *,
    labels: Sequence[str] | None = None,
    threads: int = 1,
    token_budget: int | None = None,
    precision: Precision = "exact",
    proof: Proof = NO_PROOF,
) -> Classifier:
    """Load "embedded", a folder (checkpoint, or adapter for the embedded base), or a hub id, at a
    commit, tag or branch with `@revision` after it.

    `labels` is the order wanted; their names must be the model's, in any case (a model that only
    has LABEL_0, LABEL_1, ... takes them as they come). Runs on a GPU if there is one. Sets torch's
    thread count for the whole process: two on a busy machine are ten times slower than one.

    `precision`: "exact" is float32; "auto" is bfloat16 where `proof` shows that texts are routed
    the same (see `proving`), and "bf16" is an error where it does not. The first proof for a model
    takes as long as scoring its texts twice.

    Raises:
        ConfigurationError: the model cannot be loaded or does not fit; the text says what to do.
    """
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    budget = token_budget or (TOKEN_BUDGET_GPU if device.type == "cuda" else TOKEN_BUDGET_CPU)

    def scores(by: Model, texts: Sequence[str]) -> NDArray[np.float64]:
        answers = Classifier(by, labels, budget).classify(texts)
        return np.array([answer.distribution for answer in answers])

    try:
        read = _read(model, device)
        if precision != "exact":
            read = in_bf16_if_proven(read, proof, scores, insist=precision == "bf16")
        return Classifier(read, labels, budget)
    except (ConfigurationError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever a file may hold; a panic in Rust is no Exception
        why = f"the model {model!r} cannot be loaded: {reason_of(error)}"
        raise ConfigurationError(why) from error


def load_as_worker(settings: Settings, model: str, labels: Sequence[str] | None) -> Classifier:
    """`load` as the inference worker does it, by its settings; raises the same."""
    return load(
        model,
        labels=labels,
        threads=settings.model_threads,
        token_budget=settings.token_budget,
        precision=settings.precision,
        proof=Proof(settings.precision_texts, settings.home / "precision"),
    )


def _read(model: str, device: torch.device) -> Model:
    folder = Path(model)
    if model == "embedded":
        return embedded.load_adapter(embedded.SHIPPED_ADAPTER, "embedded", device)
    if (folder / "adapter_config.json").is_file():
        return embedded.load_adapter(folder, folder.resolve().name, device)
    # Imported where it is needed: transformers takes seconds, and the embedded model none of it.
    from services.inference import pretrained

    if model and folder.is_dir():
        return pretrained.load_folder(folder, folder.resolve().name, device)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise ConfigurationError(
            f"the model {model!r} is neither a folder that exists, nor a hub id, nor 'embedded'"
        )
    return pretrained.load_folder(pretrained.download(model), model, device)


def _order(have: tuple[str, ...], want: tuple[str, ...]) -> list[int]:
    """For each wanted label its column in the model's output."""
    if len(have) == len(want) and all(re.fullmatch(r"LABEL_\d+", label) for label in have):
        return list(range(len(have)))
    columns = {label_key(label): column for column, label in enumerate(distinct(have))}
    wanted = [label_key(label) for label in distinct(want)]
    if sorted(columns) != sorted(wanted):
        raise ConfigurationError(
            f"the model has the labels {', '.join(have)}, the workflow {', '.join(want)}: "
            "use the model's labels in the workflow"
        )
    return [columns[label] for label in wanted]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
