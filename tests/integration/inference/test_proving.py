"""Can bfloat16 answer anywhere where it has not been shown to route as float32 does?

A tiny network that is sure of itself, and texts made of its own words.
"""

import logging
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertForSequenceClassification

from services.inference import pretrained, proving
from services.inference.classifier import load
from services.inference.model import autocast, padded
from services.inference.packed import Linear, Packed
from services.inference.precision import Evidence, compare
from services.inference.proving import Proof
from shared.errors import ConfigurationError
from shared.models.template import Assembly
from tests.integration.inference.test_classifier import LABELS, SIZE, WORDS, write

TEXTS = 700
right = Packed.in_bf16


def flipped(network: Packed) -> Packed:
    """Its head's rows in another order."""
    made = right(network)
    head = Linear(network.head._weight.flip(0), network.head._bias.flip(0))
    return Packed(**{**vars(made), "head": head})


def upside_down(network: Packed) -> Packed:
    """One layer's weights with the wrong sign."""
    made = right(network)
    up = made.layers[0].up
    up._weight = -up._weight
    up.plain()
    return made


def not_finite(network: Packed) -> Packed:
    made = right(network)
    made.layers[0].down._bias.fill_(float("nan"))
    return made


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any processor can multiply in bfloat16, if slowly."""
    monkeypatch.setattr(pretrained, "bf16_is_fast", lambda: True)


@pytest.fixture
def model(tmp_path: Path) -> str:
    folder = tmp_path / "sure"
    made = BertForSequenceClassification(BertConfig(**SIZE, **LABELS))
    write(folder, made)
    with torch.no_grad():
        made.classifier.weight *= 30
    made.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def texts(model: str, tmp_path: Path) -> Path:
    """Texts that it is sure of, so that hardly any lies near a threshold."""
    source = random.Random(4)
    found = {" ".join(source.choices(WORDS, k=source.randint(4, 12))) for _ in range(2 * TEXTS)}
    some = sorted(found)
    scored = zip(some, load(model).classify(some), strict=True)
    sure = [text for text, scores in scored if max(scores.distribution) > 0.999]
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(sure[:TEXTS]))
    return path


def test_what_is_proven_answers_under_a_version_of_its_own(
    model: str, texts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Given texts on which both precisions agree
    with caplog.at_level(logging.INFO):
        proven = load(model, precision="auto", proof=Proof(texts))
    # I expect bfloat16, by a version that no certificate for float32 fits, and one log line
    exact = load(model)
    assert proven.model_version == exact.model_version + "+bf16"
    assert [line.getMessage() for line in caplog.records] == ["bfloat16 enabled"]
    # and other scores than float32's, or this would show nothing
    some = texts.read_text().splitlines()[:50]
    assert proven.classify(some) != exact.classify(some)


@pytest.mark.parametrize("wrong", [flipped, upside_down, not_finite])
def test_wrong_weights_are_refused(
    model: str,
    texts: Path,
    wrong: Callable[[Packed], Packed],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a network in bfloat16 that is not the one in float32
    monkeypatch.setattr(Packed, "in_bf16", wrong)
    found = load(model, precision="auto", proof=Proof(texts))
    # I expect float32's version and scores, and to read why
    exact = load(model)
    some = texts.read_text().splitlines()[:50]
    assert found.model_version == exact.model_version
    assert found.classify(some) == exact.classify(some)
    assert "bfloat16 not proven; keeping float32" in caplog.text
    # and no start at all, if nothing but bfloat16 will do
    with pytest.raises(ConfigurationError, match="cannot be used in bfloat16"):
        load(model, precision="bf16", proof=Proof(texts))


def test_nothing_is_proven_without_enough_different_texts(model: str, texts: Path) -> None:
    # Given no texts, and one text a thousand times
    again = texts.with_name("again.txt")
    again.write_text("the film was good\n" * 1_000)
    # I expect to be told so
    with pytest.raises(ConfigurationError, match="names no texts"):
        load(model, precision="bf16")
    with pytest.raises(ConfigurationError, match="has 1 texts; at least 598 are needed"):
        load(model, precision="bf16", proof=Proof(again))


def test_texts_that_cannot_be_read_stop_the_start(model: str, tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"words": "the film was good"}\n')
    for file in (path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="holds no texts"):
            load(model, precision="auto", proof=Proof(file))


def test_json_lines_are_read_as_texts(model: str, texts: Path) -> None:
    lines = texts.with_name("lines.jsonl")
    lines.write_text("\n".join(f'{{"text": "{text}"}}' for text in texts.read_text().splitlines()))
    assert load(model, precision="bf16", proof=Proof(lines)).model_version.endswith("+bf16")


def test_evidence_is_kept_and_still_not_trusted_blindly(
    model: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a first start, which leaves its evidence
    proof = Proof(texts, tmp_path / "kept")
    load(model, precision="bf16", proof=proof)
    (kept,) = (tmp_path / "kept").iterdir()
    # If I start again, I expect only some of the texts to be scored
    sizes: list[int] = []

    def counted(exact: NDArray[np.float64], other: NDArray[np.float64]) -> Evidence:
        sizes.append(len(exact))
        return compare(exact, other)

    monkeypatch.setattr(proving, "compare", counted)
    load(model, precision="bf16", proof=proof)
    assert sizes == [64]
    # If the weights are wrong this time, I expect the evidence not to help
    with monkeypatch.context() as patch:
        patch.setattr(Packed, "in_bf16", flipped)
        with pytest.raises(ConfigurationError, match="more than twice what"):
            load(model, precision="bf16", proof=proof)
    # If the file is torn, or the texts are others, I expect all of them to be scored
    kept.write_text("{")
    load(model, precision="bf16", proof=proof)
    texts.write_text(texts.read_text() + "\njoy joy")
    load(model, precision="bf16", proof=proof)
    assert sizes[-2:] == [TEXTS, TEXTS + 1]


def test_evidence_that_was_insufficient_stays_so(
    model: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = Proof(texts, tmp_path / "kept")
    monkeypatch.setattr(Packed, "in_bf16", upside_down)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="cross a threshold"):
            load(model, precision="bf16", proof=proof)


def test_a_processor_that_gains_nothing_stays_with_float32(
    model: str, texts: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pretrained, "bf16_is_fast", lambda: False)
    found = load(model, precision="auto", proof=Proof(texts))
    assert not found.model_version.endswith("+bf16")
    assert [line.getMessage() for line in caplog.records] == [
        "bfloat16 not proven; keeping float32"
    ]


def test_a_padded_network_in_bfloat16_is_near_and_no_further_than_that() -> None:
    # Given a network as transformers computes it, by torch's mixed precision as on a GPU
    torch.manual_seed(3)
    network = BertForSequenceClassification(BertConfig(**SIZE, **LABELS))
    rows = [[2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 11, 3]]
    cpu = torch.device("cpu")
    scores = padded(network, cpu, Assembly(pad_id=0))
    exact, other = scores(rows), autocast(scores, cpu)(rows)
    # I expect nearly the same scores, and the weights as they were
    assert 0 < float((exact - other).abs().max()) < 0.02
    assert all(weight.dtype == torch.float32 for weight in network.parameters())
