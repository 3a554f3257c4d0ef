"""Does the embedded encoder learn other labels from labelled texts, and say what it is worth?"""

import json
from pathlib import Path

import pytest
import torch

from services.feedback.training import tweets
from services.feedback.training.examples import TrainingExample
from services.feedback.training.fitting import Recipe
from services.feedback.training.train_texts import labelled, split, train
from services.inference.classifier import load
from shared.errors import ConfigurationError
from tests.support.rated_texts import data_dir

__all__ = ["data_dir"]

THINGS = ("invoice", "parcel", "login", "price", "order", "delivery", "account", "refund", "size")
SAYINGS = {
    "question": ("Where is my {}?", "How do I change the {}?", "Can you tell me about the {}?"),
    "thanks": ("Thank you for the {}!", "The {} is great, thanks.", "Thanks, the {} arrived."),
    "trouble": ("The {} is broken again.", "My {} does not work.", "Wrong {}, fix this now."),
}


def written(path: Path) -> Path:
    """Some 240 lines of three labels, by a template each."""
    with path.open("w") as file:
        for label, sayings in SAYINGS.items():
            for thing in THINGS:
                for saying in sayings:
                    for ending in ("", " Ann", " Regards, Bo"):
                        text = saying.format(thing) + ending
                        file.write(json.dumps({"text": text, "label": label}) + "\n")
    return path


def test_a_model_for_other_labels_is_made_in_seconds(tmp_path: Path) -> None:
    # Given labelled texts
    examples, labels = labelled(written(tmp_path / "texts.jsonl"))
    assert labels == ("question", "thanks", "trouble")
    # If I train on them, for a moment
    torch.set_num_threads(1)  # two on a busy machine are ten times slower
    out = tmp_path / "support"
    recipe = Recipe(epochs=2, batch=16, max_tokens=16)
    made = train(
        examples, labels, out, recipe=recipe, seed=1, most=None, progress=lambda _part, _what: None
    )
    # I expect it to be right far more often than the commonest label is, on texts held out,
    assert sum(made.sizes) == len(examples)
    assert made.held_out.items == made.sizes[2]
    assert made.held_out.accuracy > made.commonest + 0.2
    # inference to load it, with these labels in this order, under the folder's name,
    model = load(str(out), labels=["trouble", "question", "thanks"])
    assert model.labels == ("trouble", "question", "thanks")
    assert model.model_version.startswith("support@")
    [said] = model.classify(["Thank you for the parcel!"])
    assert max(said.distribution) == said.distribution[2]
    # and the folder not to be written over.
    with pytest.raises(ConfigurationError, match="already exists"):
        train(examples, labels, out, recipe=recipe, seed=1, most=None, progress=lambda *_: None)


def test_no_text_is_in_two_parts_whatever_its_case() -> None:
    examples = [TrainingExample(f"Text  {n}", (1.0, 0.0)) for n in range(500)]
    doubled = [*examples, *(TrainingExample(each.text.upper(), each.shares) for each in examples)]
    parts = [{each.text.casefold() for each in part} for part in split(doubled)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 500
    assert [round(len(part) / 500, 1) for part in parts] == [0.8, 0.1, 0.1]
    # The part of a text does not depend on its company.
    assert [each.text for each in split(examples[:50])[2]] == [
        each.text for each in split(examples)[2] if each in examples[:50]
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('{"text": "a", "label": "x"}\n', "needs at least two labels"),
        ('{"text": "a"}\n', "row 1: needs a text and a label"),
        ("nonsense\n", "Expecting value"),
    ],
)
def test_a_file_that_teaches_nothing_is_refused(tmp_path: Path, lines: str, problem: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(lines)
    with pytest.raises(ConfigurationError, match=problem):
        labelled(path)


def test_too_few_texts_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too few"):
        train(
            [TrainingExample(str(n), (1.0, 0.0)) for n in range(20)], ("a", "b"), tmp_path / "out",
            recipe=Recipe(), seed=1, most=None, progress=lambda *_: None,
        )  # fmt: skip


def test_the_tweets_are_whole_and_have_three_labels(data_dir: Path) -> None:
    examples = tweets.fetch(data_dir, lambda _what: None)
    assert len(examples) == 38_158
    assert all(abs(sum(each.shares) - 1) < 1e-9 for each in examples)
    sure = [each.shares.index(1.0) for each in examples if 1.0 in each.shares]
    assert set(sure) == {0, 1, 2}
