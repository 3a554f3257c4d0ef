"""The model card of a retrained version, written from its receipt."""

from services.feedback.registry.receipt import Figures, Receipt


def render(receipt: Receipt) -> str:
    """The card as Markdown with the front matter that model hubs read."""
    sets = {"held_out": "Decisions of people, held out", "old": f"{receipt.old_domain}, held out"}
    rows = [
        _row(f"{what}, {model}", figures)
        for name, what in sets.items()
        for model, figures in receipt.figures.get(name, {}).items()
    ]
    held_out = receipt.figures.get("held_out")
    scores = held_out["candidate"].f1 if held_out else {}
    f1 = [f"| {label} | {_share(found)} |" for label, found in scores.items()]
    recipe = ", ".join(f"{name.replace('_', ' ')} {v:g}" for name, v in receipt.recipe.items())
    versions = ", ".join(f"{name} {version}" for name, version in receipt.packages.items())
    replay = (
        f"{receipt.replay.texts} texts of {receipt.replay.source} were replayed beside them, so "
        f"that what it knew before is not forgotten"
        if receipt.replay is not None
        else "nothing was replayed beside them"
    )
    return f"""---
library_name: transformers
pipeline_tag: {"token" if receipt.kind == "spans" else "text"}-classification
---

# {receipt.workflow} {receipt.version}

Trained on from {receipt.parent.version} (`{receipt.parent.model_version}`) on what reviewers
decided. Labels: {", ".join(receipt.labels)}. In events: `{receipt.model_version}`.

## What it is worth

| texts, model | items | accuracy | micro F1 | macro F1 | ECE | below {receipt.threshold:g} |
|---|---|---|---|---|---|---|
{chr(10).join(rows) or "| none held out | 0 | | | | | |"}

Accuracy and ECE (calibration error, 15 bins) are of whole answers. In brackets 95 % intervals:
Wilson's for shares, bootstrap for ECE and F1. The held-out decisions are those of a fifth of all
items, by a hash of the item's id; no version is ever trained on them. They are what the policy sent
to people, mostly what the model was not sure of: harder than the average item. The gate on
calibration weighs them by how seldom an item like them is reviewed; this table does not.

| label | F1 on held-out decisions |
|---|---|
{chr(10).join(f1) or "| none | |"}

## How it was made

- {len(receipt.trained_on)} decisions of people; {replay}. Each is named in receipt.json.
- {len(receipt.calibrated_on)} other decisions for the temperature: {_temperature(receipt)}.
- Left out: {receipt.left_out["repeated_text"]} whose text is in another part,
  {receipt.left_out["unknown_label"]} with a label that the model does not have,
  {receipt.left_out["older"]} older than those that are read.
- Recipe: {recipe}. Seed {receipt.seed}.
- Versions: {versions}.

## Limits

Reviewers' mistakes are learned with the rest. The panel's decisions that it was trained on say
nothing about how often it is wrong: a certificate of it begins anew.
"""


def _row(name: str, figures: Figures) -> str:
    low, high = figures.ece[1:]
    ece = f"{figures.ece[0]:.3f} ({low:.3f} to {high:.3f})"
    accuracy, below = _share(figures.accuracy), _share(figures.share_below)
    f1 = " | ".join(_share(one) if one else "" for one in (figures.micro_f1, figures.macro_f1))
    return f"| {name} | {figures.items} | {accuracy} | {f1} | {ece} | {below} |"


def _temperature(receipt: Receipt) -> str:
    if isinstance(receipt.temperature, float):
        return f"{receipt.temperature:.3f}"
    return ", ".join(f"{each:.3f} for {label}" for label, each in receipt.temperature.items())


def _share(found: tuple[float, float, float]) -> str:
    value, low, high = (100 * one for one in found)
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"
