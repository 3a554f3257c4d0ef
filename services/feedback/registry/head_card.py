"""The model card of a fresh model for sets of labels or spans, written from what was measured."""

from services.feedback.registry.receipt import MADE, RECEIPT, Figures, HeadReceipt


def render(report: HeadReceipt) -> str:
    """The card as Markdown with the front matter that model hubs read."""
    found = report.figures
    tags = "token-classification" if report.kind == "spans" else "text-classification"
    whole = {
        "whole answers right": found.accuracy,
        "micro F1": found.micro_f1,
        "macro F1": found.macro_f1,
        "calibration error of the whole answer": found.ece,
        f"below {report.threshold:g}, to people": found.share_below,
    }
    rows = [f"| {name} | {interval(figure)} |" for name, figure in whole.items() if figure]
    labels = [
        f"| {label} | {report.items[label]} | {interval(f1)} | {_ece(found, label)} "
        f"| {_temperature(report, label)} |"
        for label, f1 in found.f1.items()
    ]
    recipe = ", ".join(f"{name.replace('_', ' ')} {v:g}" for name, v in report.recipe.items())
    versions = ", ".join(f"{package} {version}" for package, version in report.packages.items())
    gates = [
        f"- {'passed' if passed else '**not passed**'}: {name}. {words}"
        for name, passed, words in report.gates
    ]
    return f"""---
library_name: transformers
base_model: sentence-transformers/all-MiniLM-L6-v2
pipeline_tag: {tags}
---

# {"Spans" if report.kind == "spans" else "Sets of labels"}: {", ".join(report.labels)}

MiniLM, fine-tuned on labelled texts for answers of kind `{report.kind}`. calibration.json has the
temperature{"" if report.kind == "spans" else " of each label"}.

## What it is worth

On {report.held_out.texts} texts that it has never seen, with 95 % intervals (Wilson's for shares,
else bootstrap):

| | |
|---|---|
{chr(10).join(rows)}

| label | given by people | F1 | calibration error | temperature |
|---|---|---|---|---|
{chr(10).join(labels)}

{chr(10).join(gates)}

## How it was made

- {report.trained_on.texts} texts to train, {report.calibrated_on.texts} for the temperature,
  {report.held_out.texts} held out, by a hash of the text; the hash of each part and of every file
  is in {MADE}/{RECEIPT}.
- LoRA on every linear layer, merged. Recipe: {recipe}. Seed {report.seed}.
- Versions: {versions}.

## Limits

It knows texts like those that it was taught. In other texts it is right less often than its
confidence says: have people review more there, and retrain.
"""


def interval(found: tuple[float, float, float]) -> str:
    """A figure, in thousandths, and where it lies."""
    value, low, high = found
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _ece(found: Figures, label: str) -> str:
    return f"{found.label_ece[label]:.3f}" if label in found.label_ece else ""


def _temperature(report: HeadReceipt, label: str) -> str:
    given = report.temperature
    return f"{given if isinstance(given, float) else given[label]:.2f}"
