"""Retrains a model on what people decided, and registers the new version.

Fine-tuned from the version in use on reviewed items and replayed earlier data, calibrated on
decisions that it was not trained on, measured on others that nothing ever is, and registered with a
receipt. Only `hitl model promote` puts it in use.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from services.feedback.quality import Floats, Ints, fit_temperature
from services.feedback.registry import receipt
from services.feedback.registry.receipt import Figures, Parent, Receipt, Replay, Source
from services.feedback.registry.version_card import render
from services.feedback.registry.versions import Registry
from services.feedback.training.evaluate import (
    Evaluation,
    Judged,
    evaluate,
    of_answers,
    one_label,
)
from services.feedback.training.examples import LabelledText, TrainingExample
from services.feedback.training.fitting import OnProgress, Recipe, optimise
from services.feedback.training.gates import Scored
from services.feedback.training.labelled_texts import Parts, Reviewed, text_key
from services.feedback.training.replay_set import ReplaySet, sample, without
from services.feedback.training.teaching import Temperature, example_of, in_order, loss_of
from services.feedback.training.tuning import (
    Tunable,
    open_tunable,
    read_temperature,
    write_temperature,
)
from services.feedback.training.unfinished import checkpoint_of, forget_unfinished
from shared.answers.base import Answer, Kind
from shared.answers.label import LabelAnswer
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.events.answered import AnswerPrediction
from shared.labels import label_key

# A fifth of the first training's learning rate: the model is warm. Tried on Amazon reviews: see
# docs/build/retraining.md.
RECIPE = Recipe(learning_rate=2e-4, head_learning_rate=2e-4, epochs=3, max_tokens=128)
NEWEST = 4_000  # decisions that are trained on; of the older ones a sample
OLDER = 1_000
MIN_CALIBRATION = 20
_MIN_REPLAYED = 500
_SCORED_TOGETHER = 256


class Scores(Protocol):
    """A model's answer for one text, one label among several: see
    `services.inference.classifier.Prediction`."""

    @property
    def distribution(self) -> tuple[float, ...]: ...


class Model(Protocol):
    """A loaded model: see `services.inference.classifier.Classifier` and its `heads`."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def model_version(self) -> str: ...

    def classify(self, texts: Sequence[str]) -> Sequence[Scores | AnswerPrediction]: ...


Load = Callable[[Path], Model]
"""Loads a folder as the inference worker does: what is measured is what will be served."""


@dataclass(frozen=True)
class TrainingPlan:
    """What to train: on which version, in which folder, with which choices."""

    parent: str
    parent_folder: Path
    threshold: float
    seed: int
    min_labels: int
    by: str
    recipe: Recipe = RECIPE
    kind: Kind = "label"


def retrain(
    registry: Registry,
    plan: TrainingPlan,
    parent: Model,
    parts: Parts,
    old: ReplaySet | None,
    load: Load,
    clock: Clock,
    progress: OnProgress,
) -> Receipt:
    """Train `parent` further, calibrate, measure and register one version. Resumes from what an
    earlier call with the same `plan.seed` left in `registry.unfinished`, if anything.

    Raises:
        ConfigurationError: too few decisions, or decisions for one label only.
    """
    check(parts, plan.min_labels)
    progress(0.0, "loading the model")
    tunable = open_tunable(plan.parent_folder, plan.recipe, plan.kind)
    examples = _examples(parts, old, parent.labels, tunable.outputs, plan)
    with registry.staging() as staged:
        _train(tunable, examples, plan, registry, progress)
        version = registry.next_version()
        place = _place(plan.parent_folder, version)
        weights = staged / place
        weights.mkdir(parents=True)
        progress(0.8, "fitting the temperature")
        if plan.kind == "label":
            tunable.save(weights)
            temperature: Temperature = _of_label(
                plan.parent_folder, weights, parts.calibration, load
            )
        else:
            temperature = _by_network(plan, tunable, parts.calibration, parent.labels)
            tunable.save(weights)
        write_temperature(plan.parent_folder, weights, temperature)
        candidate = load(weights)
        scored = _measured(parent, candidate, parts, examples.old, progress)
        told = Receipt(
            workflow=registry.workflow,
            version=version,
            model_version=candidate.model_version,
            folder=place.as_posix(),
            created_at=clock(),
            parent=Parent(version=plan.parent, model_version=parent.model_version),
            labels=candidate.labels,
            kind=plan.kind,
            seed=plan.seed,
            recipe=asdict(plan.recipe),
            threshold=plan.threshold,
            temperature=temperature,
            trained_on=_sources(examples.taken),
            calibrated_on=_sources(parts.calibration),
            held_out=len(parts.held_out),
            left_out=parts.left_out,
            replay=examples.replay,
            old_domain=examples.old.name if examples.old is not None and "old" in scored else None,
            figures=_figures(scored, candidate.labels, plan.threshold),
            packages=receipt.packages(),
            files={},
        )
        (staged / version / "README.md").write_text(render(told), encoding="utf-8")
        told = told.model_copy(update={"files": receipt.files(weights)})
        registry.register(staged / version, told, plan.by)
    forget_unfinished(registry)
    progress(1.0, "done")
    return told


def check(parts: Parts, min_labels: int) -> None:
    """Whether there is enough to learn from.

    Raises:
        ConfigurationError: there is not, and what is missing.
    """
    if not parts.train and not parts.held_out:
        raise ConfigurationError(
            "nothing has been reviewed yet: a model is retrained on what people decided"
        )
    if len(parts.train) < min_labels:
        raise ConfigurationError(
            f"{len(parts.train)} decisions to train on (and {len(parts.held_out)} held out, "
            f"{len(parts.calibration)} for calibration); {min_labels} are needed: review more, or "
            f"ask for fewer with --min-labels"
        )
    given = sorted({item.label for item in parts.train})
    if len(given) < 2:
        what = "label" if parts.train[0].given is None else "answer"
        raise ConfigurationError(
            f"all {len(parts.train)} decisions are {given[0]!r}: from one {what} alone a model "
            f"would learn to answer nothing else"
        )


def judge(current: Model, candidate: Model, texts: Sequence[LabelledText]) -> Scored:
    """Both models on the same texts, their labels in the order of the candidate's."""
    first, second = (judged(model, texts, candidate.labels) for model in (current, candidate))
    return Scored(first, second, np.array([each.weight for each in texts]))


def judged(model: Model, texts: Sequence[LabelledText], labels: Sequence[str]) -> Judged:
    """The model's answers to the texts beside the right ones."""
    given = [each.text for each in texts]
    truth = [each.answer for each in texts]
    if all(isinstance(answer, LabelAnswer) for answer in truth):
        return one_label(probabilities(model, given, labels), _indices(truth, labels))
    answers = [said for said in _said(model, given) if isinstance(said, AnswerPrediction)]
    return of_answers(answers, truth, labels)


def decided(items: Sequence[Reviewed]) -> list[LabelledText]:
    """What people decided, to judge by."""
    return [LabelledText(i.text, i.answer, i.weight) for i in items]


def probabilities(model: Model, texts: Sequence[str], labels: Sequence[str]) -> Floats:
    """float [n, labels], the columns in the order of `labels`."""
    keys = [label_key(label) for label in model.labels]
    plan = [keys.index(label_key(label)) for label in labels]
    found = np.zeros((len(texts), len(labels)))
    for at, answer in enumerate(_said(model, texts)):
        if isinstance(answer, AnswerPrediction):
            raise TypeError(f"{model.model_version} does not choose one label")
        found[at] = [answer.distribution[i] for i in plan]
    return found


def _said(model: Model, texts: Sequence[str]) -> Iterator[Scores | AnswerPrediction]:
    for start in range(0, len(texts), _SCORED_TOGETHER):
        yield from model.classify(texts[start : start + _SCORED_TOGETHER])


def _indices(answers: Sequence[Answer], labels: Sequence[str]) -> Ints:
    keys = [label_key(label) for label in labels]
    return np.array([keys.index(label_key(each.brief)) for each in answers], dtype=np.int64)


class _Examples(NamedTuple):
    """What is trained on: the decisions that were taken, as examples, and what is replayed. `old`:
    the earlier data without what would measure what it has taught, or the other way round."""

    taken: list[Reviewed]
    decided: list[TrainingExample]
    replayed: list[TrainingExample]
    old: ReplaySet | None

    @property
    def replay(self) -> Replay | None:
        """For the receipt."""
        if self.old is None:
            return None
        digest = receipt.digest_of(self.replayed)
        return Replay(source=self.old.name, texts=len(self.replayed), sha256=digest)


def _examples(
    parts: Parts,
    old: ReplaySet | None,
    labels: Sequence[str],
    outputs: Sequence[str],
    plan: TrainingPlan,
) -> _Examples:
    """The newest decisions and a sample of the older, and as much to replay beside them; `old` is
    in the order of `labels`."""
    older = parts.train[NEWEST:]
    chosen = random.Random(plan.seed)  # noqa: S311 - a sample, no secret
    taken = [*parts.train[:NEWEST], *chosen.sample(older, min(OLDER, len(older)))]
    examples = in_order(
        [example_of(item.text, item.answer, labels) for item in taken], labels, outputs
    )
    if old is None:
        return _Examples(taken, examples, [], None)
    judging = {text_key(i.text) for i in (*parts.held_out, *parts.calibration)}
    read = parts.taught | {text_key(example.text) for example in examples}
    old = without(old, judging, read)
    count = max(_MIN_REPLAYED, len(examples))
    replayed = in_order(sample(old.examples, count, plan.seed), labels, outputs)
    return _Examples(taken, examples, replayed, old)


def _train(
    tunable: Tunable,
    examples: _Examples,
    plan: TrainingPlan,
    registry: Registry,
    progress: OnProgress,
) -> None:
    torch.manual_seed(plan.seed)
    taught = [*examples.decided, *examples.replayed]
    read = tunable.read([example.text for example in taught])
    optimise(
        tunable.network,
        [each.ids for each in read],
        loss_of(plan.kind, taught, read, tunable.outputs, tunable.assembly),
        plan.recipe,
        random.Random(plan.seed),  # noqa: S311 - a shuffle, no secret
        lambda part, what: progress(0.05 + 0.75 * part, what),
        assembly=tunable.assembly,
        checkpoint=checkpoint_of(registry),
    )


def _measured(
    parent: Model, candidate: Model, parts: Parts, old: ReplaySet | None, progress: OnProgress
) -> dict[str, Scored]:
    """Both models on what was held out, and on the replay set where there is one."""
    progress(0.85, "measuring on held-out decisions")
    scored = {"held_out": judge(parent, candidate, decided(parts.held_out))}
    if old is not None and old.held_out:
        progress(0.9, "measuring on the replay set")
        scored["old"] = judge(parent, candidate, old.held_out)
    return scored


def _place(parent_folder: Path, version: str) -> Path:
    """Where the weights lie in the version's folder: a checkpoint's version is a hash over every
    JSON file beside it, so that its receipt must lie apart."""
    adapter = (parent_folder / "adapter_config.json").is_file()
    return Path(version) if adapter else Path(version, f"{version}-checkpoint")


def _sources(items: Sequence[Reviewed]) -> tuple[Source, ...]:
    return tuple(Source(item_id=item.item_id, event_id=item.event_id) for item in items)


def _of_label(
    parent_folder: Path, folder: Path, items: Sequence[Reviewed], load: Load
) -> Temperature:
    """The temperature of the weights in `folder`, by decisions that nothing was trained on; the
    parent's where there are too few."""
    before = read_temperature(parent_folder)
    prior = before if isinstance(before, float) else 1.0
    if len(items) < MIN_CALIBRATION:
        return prior
    write_temperature(parent_folder, folder, 1.0)
    raw_model = load(folder)
    raw = probabilities(raw_model, [item.text for item in items], raw_model.labels)
    truth = _indices([item.answer for item in items], raw_model.labels)
    logits, weights = np.log(np.maximum(raw, 1e-300)), np.array([item.weight for item in items])
    return fit_temperature(logits, truth, prior, weights)


def _by_network(
    plan: TrainingPlan, tunable: Tunable, items: Sequence[Reviewed], labels: Sequence[str]
) -> Temperature:
    """The same of heads of other kinds, whose answers say less than their scores."""
    before = read_temperature(plan.parent_folder)
    if len(items) < MIN_CALIBRATION:
        return 1.0 if before is None else before
    examples = [example_of(item.text, item.answer, labels) for item in items]
    weights = np.array([item.weight for item in items])
    return tunable.temperature(
        plan.kind,
        in_order(examples, labels, tunable.outputs),
        weights,
        1.0 if before is None else before,
    )


def _figures(
    scored: Mapping[str, Scored], labels: Sequence[str], threshold: float
) -> dict[str, dict[str, Figures]]:
    """Of both models on each set of texts that has any."""

    return {
        name: {
            "parent": figures(evaluate(each.current, labels, threshold)),
            "candidate": figures(evaluate(each.candidate, labels, threshold)),
        }
        for name, each in scored.items()
        if each.items
    }


def figures(found: Evaluation) -> Figures:
    """What was measured, for a receipt."""
    return Figures(
        items=found.items,
        accuracy=tuple(found.accuracy),
        micro_f1=tuple(found.micro_f1),
        macro_f1=tuple(found.macro_f1),
        ece=tuple(found.ece),
        share_below=tuple(found.share_below),
        f1={label.label: tuple(label.f1) for label in found.labels},
        label_ece={label.label: label.ece for label in found.labels if label.ece == label.ece},
    )
