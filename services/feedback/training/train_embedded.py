"""Trains the embedded adapter, and measures it on texts that it has never seen.

LoRA (Hu et al. 2021) on a frozen MiniLM, taught by the share of raters on each side, then one
temperature. From a shell: `hitl train-embedded`.
"""

import json
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from services.feedback.quality import Floats, Ints, Quality, fit_temperature, measure, softmax
from services.feedback.registry.model_card import Report, render
from services.feedback.training import rated_texts
from services.feedback.training.fitting import OnProgress, Recipe, by_length, one_of, optimise
from services.feedback.training.rated_texts import LABELS, Domain, Snippet
from services.feedback.training.tuning import quiet_peft, save_adapter
from shared.models.minilm import BASE, base_tokenizer
from shared.models.pretrained import base_network
from shared.models.template import Assembly

_OTHER_DOMAINS: tuple[Domain, ...] = ("amazon", "tweets", "nyt")
_THRESHOLD = 0.85  # of the default policy
# What the encoder's publisher allows. On 120 texts made of calibration snippets (330 tokens on
# average) windows of 64 were right for 91.7 %, 128 for 92.5 %, 256 and 512 for 95.0 %.
_WINDOW_TOKENS = 256


def train(
    data_dir: Path, out_dir: Path, seed: int = 2014, progress: OnProgress | None = None
) -> Report:
    """Train, calibrate and measure the embedded adapter; write it with its model card to `out_dir`.

    The figures are those of the files written (fp16), read back. Takes about seven minutes on an
    idle core; on one machine the same seed gives the same files. What lies in `out_dir` is replaced
    only at the end.
    """
    say = progress or (lambda _part, _what: None)
    recipe = Recipe()
    rated_texts.fetch(data_dir, lambda what: say(0.0, what))
    split = rated_texts.split_movies(data_dir)
    adapted = fit(
        [snippet.text for snippet in split.train],
        torch.tensor([snippet.shares for snippet in split.train]),
        recipe,
        seed,
        lambda part, what: say(0.9 * part, what),
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out_dir.parent, prefix=".adapter-") as name:
        folder = Path(name)
        save_adapter(adapted, folder)
        shipped = read_back(folder)
        say(0.9, "fitting the temperature")
        known = logits(shipped, [snippet.text for snippet in split.calibration])
        temperature = fit_temperature(known, truth(split.calibration))
        write_calibration(folder, temperature)
        say(0.92, "measuring on held-out texts")
        held_out = logits(shipped, [snippet.text for snippet in split.held_out])

        def quality(scores: Floats, texts: Sequence[Snippet], temperature: float) -> Quality:
            return measure(softmax(scores, temperature), truth(texts), _THRESHOLD)

        domains: dict[str, Quality] = {}
        for done, domain in enumerate(_OTHER_DOMAINS):
            say(0.93 + 0.02 * done, f"measuring on {domain}")
            texts = rated_texts.snippets(data_dir, domain)
            scores = logits(shipped, [snippet.text for snippet in texts])
            domains[domain] = quality(scores, texts, temperature)
        report = Report(
            seed=seed,
            sizes=(len(split.train), len(split.calibration), len(split.held_out)),
            recipe=asdict(recipe),
            window_tokens=_WINDOW_TOKENS,
            temperature=temperature,
            uncalibrated=quality(held_out, split.held_out, 1.0),
            held_out=quality(held_out, split.held_out, temperature),
            domains=domains,
        )
        (folder / "README.md").write_text(render(report))
        for file in folder.iterdir():
            os.replace(file, out_dir / file.name)
    say(1.0, "done")
    return report


def fit(
    texts: Sequence[str], shares: torch.Tensor, recipe: Recipe, seed: int, progress: OnProgress
) -> torch.nn.Module:
    """Train a fresh adapter and head on `texts` and the share of people for each label, float
    [n, labels]; the encoder's own weights stay as they are."""
    torch.manual_seed(seed)
    order = random.Random(seed)  # noqa: S311 - a shuffle, no secret
    network = _adapt(recipe, shares.shape[1])
    tokenizer = base_tokenizer()
    tokenizer.enable_truncation(recipe.max_tokens)
    tokens = [tokenizer.encode(text).ids for text in texts]
    return optimise(network, tokens, one_of(shares), recipe, order, progress)


def read_back(folder: Path, labels: int = len(LABELS)) -> torch.nn.Module:
    """The network as it was saved in `folder`, merged by peft, float32."""
    with quiet_peft():
        merged = PeftModel.from_pretrained(base_network(labels), str(folder)).merge_and_unload()
    network: torch.nn.Module = merged.float().eval()
    return network


def write_calibration(folder: Path, temperature: float, labels: Sequence[str] = LABELS) -> None:
    """Write what inference must know besides the weights."""
    facts = {"labels": list(labels), "window_tokens": _WINDOW_TOKENS, "temperature": temperature}
    (folder / "calibration.json").write_text(json.dumps(facts, indent=2) + "\n")


def logits(network: torch.nn.Module, texts: Sequence[str], labels: int = len(LABELS)) -> Floats:
    """Scores [n, labels] in the order of `texts`, each cut at the window."""
    tokenizer = base_tokenizer()
    tokenizer.enable_truncation(_WINDOW_TOKENS)
    tokens = [tokenizer.encode(text).ids for text in texts]
    found = np.zeros((len(texts), labels))
    padded = Assembly(pad_id=0)
    with torch.inference_mode():
        for batch in by_length(range(len(tokens)), tokens, 32):
            rows = padded([tokens[i] for i in batch])
            found[batch] = network(**rows).logits.double().numpy()
    return found


def truth(texts: Sequence[Snippet]) -> Ints:
    """The label index of each text [n]."""
    return np.array([LABELS.index(snippet.label) for snippet in texts], dtype=np.int64)


def _adapt(recipe: Recipe, labels: int) -> torch.nn.Module:
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=r"bert\..*(query|key|value|dense)",  # every linear layer, pooler included
        modules_to_save=["classifier"],
    )
    with quiet_peft():
        adapted = get_peft_model(base_network(labels), config)
    adapted.peft_config["default"].base_model_name_or_path = BASE  # no local path
    return adapted
