"""A BERT-like classifier of texts or tokens over packed rows, which computes only what it must.

The tokens of all texts stand one after the other, without padding: every linear layer sees them as
one matrix, and only attention looks at the texts, those of equal length together. After the last
attention only the first token of each text goes on, where the head reads no other. Weights are
repacked once for oneDNN. Why: docs/decisions/0011-packed-inference.md.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from shared.models.template import Template

logger = logging.getLogger(__name__)

# Of the largest logit, between repacked and plain weights: rounding is below.
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}
_BF16_PROCESSORS = ("avx512_bf16", "amx_bf16")
# oneDNN makes and keeps a program for each number of rows. Without steps they take half a gigabyte,
# and making them takes longer than computing the rows that fill the steps.
_STEP = 16
_REPACKED_ROWS = 512  # the size that oneDNN chooses its layout for


class Linear:
    """`x @ weight.T + bias`, optionally followed by GELU; repacked for oneDNN where it helps.

    The answer has the weight's precision, whichever `x` has."""

    def __init__(self, weight: Tensor, bias: Tensor, *, gelu: bool = False) -> None:
        self._weight = weight.contiguous()
        self._bias = bias.contiguous()
        self._gelu = gelu
        self._repacked: Tensor | None = None

    def repack(self) -> None:
        """These two operators are torch's own, not public: see `Packed.faithful`."""
        self._repacked = torch.ops.mkldnn._reorder_linear_weight(self._weight, _REPACKED_ROWS)

    def plain(self) -> None:
        """Back to the public operators."""
        self._repacked = None

    def in_bf16(self) -> "Linear":
        """The same with weights of half the size."""
        weight, bias = self._weight.bfloat16(), self._bias.bfloat16()
        return Linear(weight, bias, gelu=self._gelu)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of weights and answers."""
        return self._weight.dtype

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self._repacked is not None:
            kind, algorithm = ("gelu", "none") if self._gelu else ("none", "")
            fused: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._repacked, self._bias, kind, [], algorithm
            )
            return fused
        y = functional.linear(x, self._weight, self._bias)
        return functional.gelu(y) if self._gelu else y


class Norm(NamedTuple):
    """A layer normalisation over the hidden size."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Layer:
    """One transformer block with its norms after the residuals (as in BERT)."""

    queries: Linear
    keys_values: Linear
    output: Linear
    attention_norm: Norm
    up: Linear
    down: Linear
    output_norm: Norm

    def in_bf16(self) -> "Layer":
        """The same with its matrix products in bfloat16."""
        return replace(
            self,
            queries=self.queries.in_bf16(),
            keys_values=self.keys_values.in_bf16(),
            output=self.output.in_bf16(),
            up=self.up.in_bf16(),
            down=self.down.in_bf16(),
        )


@dataclass(frozen=True)
class Packed:
    """Scores rows of token ids: `[n texts] -> logits, float32 [n, labels]`; where no pooler is, the
    head reads every token: `[tokens, labels]`, one text's after the other's."""

    words: Tensor  # [vocabulary, hidden]
    positions: Tensor  # [window, hidden], the type embedding of a single text already added
    norm: Norm
    layers: tuple[Layer, ...]
    heads: int
    pooler: Linear | None
    pooler_activation: Callable[[Tensor], Tensor]
    head: Linear
    types: Tensor | None = None  # [types, hidden], less that of a single text
    template: Template | None = None  # of pairs, where the types of their tokens matter

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Sequence[int]]) -> Tensor:
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        lengths = [len(rows[index]) for index in order]
        groups = [(length, len(list(same))) for length, same in groupby(lengths)]
        ids = [token for index in order for token in rows[index]]
        places = [place for length in lengths for place in range(length)]
        x = self.words[_filled(ids)] + self.positions[_filled(places)]
        if self.types is not None and self.template is not None:
            kinds = [kind for length in lengths for kind in self.template.types(length)]
            x = x + self.types[_filled(kinds)]
        x = self.norm(x)
        for layer in self.layers[:-1]:
            x = self._block(layer, x, self._attend(layer, x, x, groups))
        last = self.layers[-1]
        if self.pooler is None:
            x = self.head(self._block(last, x, self._attend(last, x, x, groups))).float()
            parts = torch.split(x[: len(ids)], lengths)
            return torch.cat([part for _, part in sorted(zip(order, parts, strict=True), key=_at)])
        firsts = x[_filled([0, *accumulate(lengths[:-1])])]
        x = self._block(last, firsts, self._attend(last, x, firsts, groups, first_only=True))
        logits = self.head(self.pooler_activation(self.pooler(x))).float()[: len(rows)]
        answer = torch.empty_like(logits)
        answer[torch.tensor(order)] = logits
        return answer

    def in_bf16(self) -> "Packed":
        """The same with the layers' weights in bfloat16. Sums, norms, attention and the head stay
        as they are: they take little time, and half of the error would come from them."""
        return replace(self, layers=tuple(layer.in_bf16() for layer in self.layers)).faithful()

    def linears(self) -> list[Linear]:
        """Every matrix product of the model."""
        inside = [
            linear
            for layer in self.layers
            for linear in (layer.queries, layer.keys_values, layer.output, layer.up, layer.down)
        ]
        return [*inside, *([self.pooler] if self.pooler else []), self.head]

    def faithful(self) -> "Packed":
        """Repacks the weights, if that gives the same scores here: the operators are private, and
        on another processor they may not exist or not be right."""
        vocabulary = len(self.words)
        probe = [[(7 * i + 3 * n) % vocabulary for i in range(n)] for n in (1, 2, 9, 9, 40)]
        probe = [row[: len(self.positions)] for row in probe]
        expected = self(probe)
        try:
            for linear in self.linears():
                linear.repack()
            error = float((self(probe) - expected).abs().max() / expected.abs().max())
            if error <= _TOLERANCE[self.layers[0].up.dtype]:
                return self
            problem = f"a logit differs by {error:.1e} of the largest"
        except (RuntimeError, AttributeError) as refused:
            problem = str(refused).partition("\n")[0]
        logger.warning("not using oneDNN's repacked weights", extra={"problem": problem})
        for linear in self.linears():
            linear.plain()
        return self

    def _block(self, layer: Layer, x: Tensor, attended: Tensor) -> Tensor:
        x = layer.attention_norm(layer.output(attended) + x)
        return layer.output_norm(layer.down(layer.up(x)) + x)

    def _attend(
        self,
        layer: Layer,
        x: Tensor,
        asking: Tensor,
        groups: list[tuple[int, int]],
        *,
        first_only: bool = False,
    ) -> Tensor:
        """What the rows `asking` find in all of `x`: every token of it asks, or only the first of
        each text. `groups`: length and number of the texts, in order."""
        queries, (keys, values) = layer.queries(asking), layer.keys_values(x).chunk(2, dim=1)
        answer = torch.zeros_like(queries, dtype=torch.float32)
        start = first = 0
        for length, count in groups:
            rows = slice(start, start + length * count)
            ours = slice(first, first + (count if first_only else length * count))
            attended = functional.scaled_dot_product_attention(
                self._by_head(queries[ours], count),
                self._by_head(keys[rows], count),
                self._by_head(values[rows], count),
            )
            answer[ours] = attended.transpose(1, 2).reshape(ours.stop - first, -1)
            start, first = rows.stop, ours.stop
        return answer

    def _by_head(self, x: Tensor, texts: int) -> Tensor:
        """[texts * length, hidden] -> float32 [texts, heads, length, hidden / heads]."""
        return x.float().view(texts, -1, self.heads, x.shape[1] // self.heads).transpose(1, 2)


def _at(placed: tuple[int, Tensor]) -> int:
    return placed[0]


def _filled(indices: list[int]) -> Tensor:
    """With zeros at the end, up to a multiple of `_STEP`; what they lead to is not used."""
    return torch.tensor(indices + [0] * (-len(indices) % _STEP))


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 matrices faster than float32."""
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in _BF16_PROCESSORS)


def pack(
    config: Mapping[str, object], state: Mapping[str, Tensor], *, of_tokens: bool = False
) -> Packed | None:
    """The packed form of a transformers classifier, of texts or `of_tokens`, by its config and
    state dict, float32, CPU.

    None for an architecture other than BERT's and DistilBERT's, or an unusual variant of them.
    """
    names = _RECIPES.get(str(config.get("model_type")))
    if names is None or not names.usual(config):
        return None

    def linear(name: str, *, gelu: bool = False) -> Linear:
        return Linear(state[f"{name}.weight"], state[f"{name}.bias"], gelu=gelu)

    def norm(name: str) -> Norm:
        eps = float(str(config.get("layer_norm_eps", 1e-12)))
        return Norm(state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def layer(number: int) -> Layer:
        at = f"{names.layers}.{number}"
        keys, values = f"{at}.{names.key}", f"{at}.{names.value}"
        return Layer(
            queries=linear(f"{at}.{names.query}"),
            keys_values=Linear(
                torch.cat([state[f"{keys}.weight"], state[f"{values}.weight"]]),
                torch.cat([state[f"{keys}.bias"], state[f"{values}.bias"]]),
            ),
            output=linear(f"{at}.{names.output}"),
            attention_norm=norm(f"{at}.{names.attention_norm}"),
            up=linear(f"{at}.{names.up}", gelu=True),
            down=linear(f"{at}.{names.down}"),
            output_norm=norm(f"{at}.{names.output_norm}"),
        )

    positions = state[f"{names.embeddings}.position_embeddings.weight"]
    types = state.get(f"{names.embeddings}.token_type_embeddings.weight")
    return Packed(
        words=state[f"{names.embeddings}.word_embeddings.weight"],
        positions=positions if types is None else positions + types[0],
        norm=norm(f"{names.embeddings}.LayerNorm"),
        layers=tuple(layer(n) for n in range(int(str(config[names.depth])))),
        heads=int(str(config[names.heads])),
        pooler=None if of_tokens else linear(names.pooler),
        pooler_activation=names.pooler_activation,
        head=linear("classifier"),
        types=None if types is None else types - types[0],
    ).faithful()


@dataclass(frozen=True)
class _Recipe:
    """Where one architecture keeps its weights."""

    embeddings: str
    layers: str
    query: str
    key: str
    value: str
    output: str
    attention_norm: str
    up: str
    down: str
    output_norm: str
    pooler: str
    pooler_activation: Callable[[Tensor], Tensor]
    depth: str
    heads: str
    usual_values: Mapping[str, object]

    def usual(self, config: Mapping[str, object]) -> bool:
        """Whether what could be configured otherwise is as this file computes it."""
        return all(config.get(key, value) == value for key, value in self.usual_values.items())


_RECIPES = {
    "bert": _Recipe(
        embeddings="bert.embeddings",
        layers="bert.encoder.layer",
        query="attention.self.query",
        key="attention.self.key",
        value="attention.self.value",
        output="attention.output.dense",
        attention_norm="attention.output.LayerNorm",
        up="intermediate.dense",
        down="output.dense",
        output_norm="output.LayerNorm",
        pooler="bert.pooler.dense",
        pooler_activation=torch.tanh,
        depth="num_hidden_layers",
        heads="num_attention_heads",
        usual_values={
            "hidden_act": "gelu",
            "position_embedding_type": "absolute",
            "is_decoder": False,
        },
    ),
    "distilbert": _Recipe(
        embeddings="distilbert.embeddings",
        layers="distilbert.transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        attention_norm="sa_layer_norm",
        up="ffn.lin1",
        down="ffn.lin2",
        output_norm="output_layer_norm",
        pooler="pre_classifier",
        pooler_activation=torch.relu,
        depth="n_layers",
        heads="n_heads",
        usual_values={"activation": "gelu"},
    ),
}
