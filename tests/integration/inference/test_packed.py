"""Does the engine without padding say what transformers says, and notice where it would not?

The checkpoints are small and random: what is compared is the arithmetic.
"""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
)

from services.inference.packed import Linear, Packed, pack

VOCABULARY = 200
BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "num_labels": 3,
}
DISTILBERT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "dim": 48,
    "n_layers": 3,
    "n_heads": 4,
    "hidden_dim": 96,
    "max_position_embeddings": 64,
    "num_labels": 3,
}


def network(kind: str, **changes: object) -> PreTrainedModel:
    torch.manual_seed(11)
    made: PreTrainedModel
    if kind == "bert":
        made = BertForSequenceClassification(BertConfig(**{**BERT, **changes}))
    else:
        made = DistilBertForSequenceClassification(DistilBertConfig(**{**DISTILBERT, **changes}))
    for name, parameter in made.named_parameters():  # the usual start hardly tells texts apart
        torch.nn.init.normal_(parameter, mean=float(name.endswith("Norm.weight")), std=0.3)
    made.train(False)
    return made


def packed_form(of: PreTrainedModel) -> Packed:
    form = pack(of.config.to_dict(), of.state_dict())
    assert form is not None
    return form


def rows(seed: int = 1) -> list[list[int]]:
    """Texts of 1 to 60 tokens, some of the same length, in no order."""
    random = np.random.default_rng(seed)
    return [random.integers(0, VOCABULARY, size).tolist() for size in random.integers(1, 61, 40)]


@torch.inference_mode()
def one_by_one(of: PreTrainedModel, texts: list[list[int]]) -> torch.Tensor:
    return torch.cat([of(input_ids=torch.tensor([text])).logits for text in texts])


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_the_scores_are_transformers_own(kind: str) -> None:
    # Given a network, and texts of many lengths, some of them equally long
    made, texts = network(kind), rows()
    expected = one_by_one(made, texts)
    # If all of them go through the packed form at once, I expect each text's own scores
    assert torch.allclose(packed_form(made)(texts), expected, atol=1e-4)
    # and that they differ from text to text, or this would show nothing
    assert float(expected.std(dim=0).max()) > 0.1


@pytest.mark.parametrize(
    "changes",
    [{"hidden_act": "relu"}, {"is_decoder": True}],
    ids=["another activation", "a decoder"],
)
def test_an_unusual_network_is_left_to_transformers(changes: dict[str, object]) -> None:
    made = network("bert", **changes)
    assert pack(made.config.to_dict(), made.state_dict()) is None


def test_where_repacked_weights_are_wrong_the_plain_ones_are_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a processor for which the repacked product is off by a little
    made, texts = network("bert"), rows()
    right = Linear.repack

    def wrong(self: Linear) -> None:
        right(self)
        self._repacked = torch.ops.mkldnn._reorder_linear_weight(self._weight * 1.01, 512)

    monkeypatch.setattr(Linear, "repack", wrong)
    # If the network is packed, I expect a warning and the right scores all the same
    with caplog.at_level(logging.WARNING):
        form = packed_form(made)
    assert "not using oneDNN's repacked weights" in caplog.text
    assert torch.allclose(form(texts), one_by_one(made, texts), atol=1e-4)


def test_where_there_is_no_such_operator_the_plain_ones_are_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, texts = network("distilbert"), rows()

    def missing(self: Linear) -> None:
        raise NotImplementedError("mkldnn::_reorder_linear_weight")

    monkeypatch.setattr(Linear, "repack", missing)
    assert torch.allclose(packed_form(made)(texts), one_by_one(made, texts), atol=1e-4)


def test_batches_of_any_size_come_to_few_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that oneDNN keeps a program, up to a megabyte, for each number of rows it ever saw
    form = packed_form(network("bert"))
    seen = set()
    product = Linear.__call__

    def noted(self: Linear, x: torch.Tensor) -> torch.Tensor:
        seen.add(len(x))
        return product(self, x)

    monkeypatch.setattr(Linear, "__call__", noted)
    # If batches of 1 to 320 tokens come, I expect it to see a sixteenth of as many
    for tokens in range(1, 321):
        form([[7] * (tokens % 40)] * (tokens % 40 > 0) + [[5] * 40] * (tokens // 40))
    assert seen == set(range(16, 321, 16))
