"""The precision that a model may answer in here, and the proof of it.

bfloat16 answers only where it has been compared with float32 on texts like those that will come.
Argued in docs/decisions/0013-bfloat16-by-proof.md.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from services.inference.model import Model, digest_of, named
from services.inference.precision import MIN_TEXTS, Evidence, compare
from shared import models
from shared.errors import ConfigurationError, Permanent
from shared.formats.json_lines import lines_of, whole_lines

logger = logging.getLogger(__name__)

SUFFIX = "+bf16"  # of a version: other scores are another model's, and certificates name a version
_MAX_TEXTS = 4_000  # a minute for the embedded model, once
_AGAIN = 64  # texts that are compared at every start

# the distributions of some texts by some model, float [texts, labels]
Scores = Callable[[Model, Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True)
class Proof:
    """`texts` is a file of texts like those that will come: one a line, or JSON Lines with `text`.
    What they have shown is kept in the folder `kept`, if there is one, for the next start."""

    texts: Path | None = None
    kept: Path | None = None


NO_PROOF = Proof()


def in_bf16_if_proven(model: Model, proof: Proof, scores: Scores, *, insist: bool) -> Model:
    """`model` in bfloat16, with a version of its own; or as it is, and a log line says why.

    Raises `ConfigurationError`: the texts cannot be read; or it would not be bfloat16 and you
    `insist`.
    """
    try:
        return _proven(model, proof, scores)
    except (_NotProven, Permanent) as problem:  # Permanent: it cannot score one of the texts
        if insist:
            raise ConfigurationError(
                f"{model.version} cannot be used in bfloat16: {problem}"
            ) from None
        logger.warning(
            "bfloat16 not proven; keeping float32",
            extra={"model": model.version, "problem": str(problem)},
        )
        return model


class _NotProven(Exception):
    """The text says why."""


def _proven(model: Model, proof: Proof, scores: Scores) -> Model:
    if model.in_bf16 is None:
        raise _NotProven("neither this processor nor this architecture gains by it")
    if proof.texts is None:
        raise _NotProven("HITL_PRECISION_TEXTS names no texts to prove it with")
    texts = _read(proof.texts)
    if len(texts) < MIN_TEXTS:
        raise _NotProven(f"{proof.texts} has {len(texts)} texts; at least {MIN_TEXTS} are needed")
    other = replace(model, network=model.in_bf16(), in_bf16=None, version=model.version + SUFFIX)

    def evidence(some: Sequence[str]) -> Evidence:
        return compare(scores(model, some), scores(other, some))

    kept = proof.kept / f"{_circumstances(model, proof.texts)}.json" if proof.kept else None
    found = _recall(kept)
    if found is not None:
        again = evidence(texts[:_AGAIN]).largest_difference
        if again > 2 * found.largest_difference:
            raise _NotProven(
                f"a probability is off by {again:.2f}, more than twice what {kept} says"
            )
    else:
        found = evidence(texts)
        _keep(kept, found)
    if not found.sufficient:
        raise _NotProven(str(found))
    logger.info("bfloat16 enabled", extra={"model": other.version, "evidence": str(found)})
    return other


def _read(path: Path) -> list[str]:
    """Distinct texts, the first of them: the same again shows nothing."""
    try:
        lines = [line.content for line in whole_lines(lines_of(path.read_bytes()), str(path))]
        texts = [
            str(json.loads(line)["text"]) if line.startswith(b"{") else line.decode().strip()
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} holds no texts: {error!r}") from error
    return list(dict.fromkeys(texts))[:_MAX_TEXTS]


def _circumstances(model: Model, texts: Path) -> str:
    """A name for all that evidence depends on: model, texts, this code, torch and processor."""
    code = (Path(__file__).parent, Path(models.__file__).parent)
    files = [texts, *(path for folder in code for path in folder.glob("*.py"))]
    processor = (
        torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else json.dumps(dict(torch.cpu.get_capabilities()), sort_keys=True)
    )
    what = f"{named(model.version, digest_of(files))}\n{torch.__version__}\n{processor}"
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _recall(path: Path | None) -> Evidence | None:
    if path is None:
        return None
    try:
        return Evidence(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None  # none yet, or not a whole one


def _keep(path: Path | None, found: Evidence) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found._asdict()))
    except OSError as error:
        logger.warning("could not save the bfloat16 evidence: %s", error)
