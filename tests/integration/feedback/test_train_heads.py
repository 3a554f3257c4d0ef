"""Does the embedded encoder learn sets of labels and spans, and is what it learned served?"""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from services.feedback.registry.receipt import HeadReceipt, changed_files
from services.feedback.training.examples import LabelledText, labelled_texts, named_in
from services.feedback.training.fitting import Recipe
from services.feedback.training.train_heads import TrainedHead, best_constant, train_head
from services.inference.loading import load_head
from shared.answers.base import AnswerSpec, Kind
from shared.answers.labels import LabelsAnswer
from shared.errors import ConfigurationError
from shared.models.task import Task

CREATED = datetime(2026, 12, 1, tzinfo=UTC)
RECIPE = Recipe(learning_rate=2e-3, head_learning_rate=2e-3, epochs=3, batch=8, max_tokens=24)
WORDS = {
    "billing": ("the invoice is wrong", "I was charged twice", "refund my payment"),
    "delivery": ("the parcel is late", "it never arrived", "the courier lost it"),
    "praise": ("you are wonderful", "thank you so much", "great service"),
}
FILLERS = ("I write on Monday", "My number is 12", "Dear team", "Please answer")
PEOPLE = ("Peter", "Ada", "Grace", "Alan", "Maria", "Zoë")
PLACES = ("Paris", "Berlin", "Oslo", "Lima", "Kyoto")
SAYINGS = ("{p} lives in {o} now", "😀 we met {p} near {o}.", "In {o}, {p} paid", "{p} called us")


def messages(path: Path, count: int = 260, words: Mapping[str, Sequence[str]] = WORDS) -> Path:
    """Each about none, one or more of three things."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(count):
            about = [label for label in words if chance.random() < 0.4]
            parts = [chance.choice(words[label]) for label in about] + [chance.choice(FILLERS)]
            chance.shuffle(parts)
            text = ". ".join(parts) + f". Order {number}."
            file.write(json.dumps({"text": text, "labels": about}) + "\n")
    return path


def names(path: Path, count: int = 260, sayings: Sequence[str] = SAYINGS) -> Path:
    """Each with a person, most with a place; some begin with a character outside of the BMP."""
    chance = random.Random(1)
    with path.open("w") as file:
        for number in range(count):
            person, place = chance.choice(PEOPLE), chance.choice(PLACES)
            text = chance.choice(sayings).format(p=person, o=place) + f" {number}"
            spans = [
                {"start": text.index(word), "end": text.index(word) + len(word), "label": label}
                for word, label in ((person, "PER"), (place, "LOC"))
                if word in text
            ]
            file.write(json.dumps({"text": text, "spans": spans}) + "\n")
    return path


def _labels(*given: str) -> LabelsAnswer:
    return LabelsAnswer(labels=given)


def trained(
    texts: list[LabelledText], kind: Kind, out: Path, recipe: Recipe = RECIPE
) -> TrainedHead:
    torch.set_num_threads(1)
    labels = named_in(texts)
    return train_head(
        texts,
        kind,
        labels,
        out,
        recipe=recipe,
        seed=1,
        most=None,
        load=lambda folder: load_head(str(folder), Task(kind, labels)),
        clock=lambda: CREATED,
        progress=lambda _part, _what: None,
    )


def test_sets_of_labels_are_learned_in_seconds(tmp_path: Path) -> None:
    # Given texts with sets of labels, some of them empty
    texts = labelled_texts(messages(tmp_path / "texts.jsonl"), AnswerSpec("labels"))
    assert any(not each.answer.names for each in texts)
    # If I train on them for a moment
    out = tmp_path / "mail"
    made = trained(texts, "labels", out)
    # I expect it to find more than any answer that never looks, on texts held out,
    assert made.held_out.items == made.sizes[2]
    assert made.held_out.micro_f1.low > made.base_rate
    assert all(gate.passed for gate in made.gates)
    # each label with its calibration error and a temperature of its own, where inference reads it,
    assert all(0 <= label.ece <= 1 for label in made.held_out.labels)
    assert json.loads((out / "calibration.json").read_text())["temperature"] == made.temperature
    assert isinstance(made.temperature, dict)
    assert len(set(made.temperature.values())) == 3
    # a receipt that names what each part of the texts was, and every file,
    receipt = HeadReceipt.model_validate_json((out / "made" / "receipt.json").read_bytes())
    parts = (receipt.trained_on, receipt.calibrated_on, receipt.held_out)
    assert tuple(part.texts for part in parts) == made.sizes
    assert len({part.sha256 for part in parts}) == 3
    assert (receipt.seed, receipt.created_at, receipt.temperature) == (1, CREATED, made.temperature)
    assert receipt.figures.micro_f1 == tuple(made.held_out.micro_f1)
    assert {"model.safetensors", "calibration.json", "README.md"} < receipt.files.keys()
    assert changed_files(out, receipt.files) == []
    # a card that says so, and a model that answers with a set, in the workflow's order.
    card = (out / "README.md").read_text()
    assert "micro F1" in card
    assert f"| billing | {made.held_out.labels[0].items} |" in card
    model = load_head(str(out), Task("labels", ("praise", "billing", "delivery")))
    assert model.model_version == made.model_version == receipt.model_version
    found = model.classify(["thank you so much. I was charged twice.", "My number is 9."])
    assert [each.answer for each in found] == [{"labels": ["praise", "billing"]}, {"labels": []}]


def test_spans_are_learned_in_code_points(tmp_path: Path) -> None:
    texts = labelled_texts(names(tmp_path / "texts.jsonl"), AnswerSpec("spans"))
    out = tmp_path / "names"
    made = trained(texts, "spans", out)
    assert made.held_out.micro_f1.low > 0.7
    model = load_head(str(out), Task("spans", ("PER", "LOC")))
    [found] = model.classify(["😀 we met Grace near Lima."])
    assert found.answer == {
        "spans": [
            {"start": 9, "end": 14, "label": "PER"},
            {"start": 20, "end": 24, "label": "LOC"},
        ]
    }


@pytest.mark.parametrize(
    ("line", "kind", "problem"),
    [
        ('{"text": "a"}', "labels", "row 1: needs a text and labels"),
        ('{"text": "a", "labels": "x"}', "labels", "row 1: .*must be JSON"),
        ('{"text": "", "labels": []}', "labels", "row 1: .*text: is missing"),
        ('{"text": "a", "spans": [{"start": 0, "end": 9, "label": "x"}]}', "spans", "end 9 is out"),
    ],
)
def test_a_row_without_an_answer_is_named(
    tmp_path: Path, line: str, kind: Kind, problem: str
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ConfigurationError, match=problem):
        labelled_texts(path, AnswerSpec(kind))


def test_the_best_answer_that_never_looks() -> None:
    # Given a label that three of four texts have, and one that one has
    spec = AnswerSpec("labels", ("a", "b"))
    texts = [
        LabelledText("1", _labels("a")), LabelledText("2", _labels("a")),
        LabelledText("3", _labels("a", "b")), LabelledText("4", _labels()),
    ]  # fmt: skip
    # I expect "a" always: three hits, of four said and four meant
    assert best_constant("labels", texts, spec.labels) == pytest.approx(2 * 3 / (4 + 4))
