"""Do models of label sets, of spans and of entailment say what transformers' own pipelines say?

The checkpoints are tiny, random and made here: the code is what loads a real one.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import pipeline

from services.inference.classifier import load
from services.inference.loading import load_head
from shared.answers.base import AnswerSpec, Asked
from shared.answers.reading import read_answer
from shared.errors import ConfigurationError, Permanent
from shared.events.answered import AnswerPrediction
from shared.models.task import Task
from tests.support.checkpoints import PIECES, write

ARCHITECTURES = ["bert", "distilbert", "roberta"]
SERVED = {"bert": "packed", "distilbert": "packed", "roberta": "padded"}
LABELS = ("toxic", "insult", "threat")
MANY: dict[str, Any] = {"problem_type": "multi_label_classification"}
IOB = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
HYPOTHESIS = "This text is about {}."
NLI = ("contradiction", "neutral", "entailment")
TEXTS = (
    "Peter of ACME owes Ann 12 euros.",
    "good",
    "Berlin, Berlin - people\U0001f600 in Berlin\nx",
    "\U0001f600 Annx, a peters-acmex film in berlins.",
    "北京 is good",
    "a b x i é bad film",
)


def random_texts(count: int, longest: int) -> list[str]:
    chosen = random.Random(4)
    whole = [piece for piece in PIECES if not piece.startswith("##")]
    return [
        "".join(
            chosen.choice(whole) + chosen.choice(("", "s", "x", "me", " ", " ", " ", ", "))
            for _ in range(chosen.randint(1, longest))
        )
        for _ in range(count)
    ]


def check_alone_and_together(classify: Any, texts: Sequence[str]) -> list[Any]:
    """The answers of all texts in one call, which are those of each alone."""
    together = classify(texts)
    for text, answer in zip(texts, together, strict=True):
        [alone] = classify([text])
        if isinstance(answer, AnswerPrediction):
            assert (alone.answer, alone.tokens) == (answer.answer, answer.tokens)
            assert alone.confidence == pytest.approx(answer.confidence, abs=1e-5)
    return list(together)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_label_has_the_pipelines_probability(tmp_path: Path, architecture: str) -> None:
    # Given a multi-label checkpoint, and a workflow with its labels in another order
    folder = write(tmp_path / "tiny", LABELS, architecture=architecture, **MANY)
    model = load_head(folder, Task("labels", ("Threat", "toxic", "insult")))
    assert model.batches == SERVED[architecture]
    texts = [*TEXTS, *random_texts(20, 12)]
    theirs: Any = pipeline("text-classification", model=folder, top_k=None)
    answers = check_alone_and_together(model.classify, texts)
    for text, answer in zip(texts, answers, strict=True):
        expected: dict[str, float] = {each["label"]: each["score"] for each in theirs([text])[0]}
        expected = {"Threat": expected.pop("threat"), **expected}
        # I expect the sigmoid of each label, those from a half on as the answer, in the workflow's
        # order, and the least sure label's probability of being right as confidence.
        assert answer.parts == pytest.approx(expected, abs=1e-4)
        assert answer.answer == {"labels": [n for n in model.labels if expected[n] >= 0.5]}
        least = min(max(p, 1 - p) for p in expected.values())
        assert answer.confidence == pytest.approx(least, abs=1e-4)
    assert len({len(answer.names) for answer in answers}) > 1, "or this would show nothing"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_spans_are_those_of_the_pipelines_words(tmp_path: Path, architecture: str) -> None:
    folder = write(tmp_path / "tiny", IOB, architecture=architecture, of_tokens=True)
    model = load_head(folder, Task("spans", ("org", "PER")))
    assert model.batches == SERVED[architecture]
    theirs: Any = pipeline("token-classification", model=folder, aggregation_strategy="first")
    tokens: Any = pipeline("token-classification", model=folder, ignore_labels=[])
    texts = [*TEXTS, *random_texts(40, 12)]
    found = 0
    answers = check_alone_and_together(model.classify, texts)
    for text, answer in zip(texts, answers, strict=True):
        expected = theirs(text)
        # I expect its spans in code points, with the workflow's spelling of the labels,
        assert answer.answer["spans"] == [
            {
                "start": each["start"],
                "end": each["end"],
                "label": {"ORG": "org"}.get(each["entity_group"], each["entity_group"]),
            }
            for each in expected
        ], text
        # its scores,
        assert answer.parts == pytest.approx([each["score"] for each in expected], abs=1e-4)
        # and the least sure word's probability as confidence.
        first = [each["score"] for each in tokens(text) if not each["word"].startswith("##")]
        assert answer.confidence == pytest.approx(min(first), abs=1e-4)
        spec = AnswerSpec("spans", model.labels)
        assert read_answer(answer.answer, spec, Asked(text)).value == answer.answer
        found += len(expected)
    assert found > len(texts), "or this would show nothing"


def test_a_long_text_has_the_spans_of_a_window_that_reads_around_them(tmp_path: Path) -> None:
    # Given texts of several windows
    folder = write(tmp_path / "tiny", IOB, of_tokens=True)
    model = load_head(folder, Task("spans", ("PER", "ORG")))
    tokens: Any = pipeline("token-classification", model=folder, ignore_labels=[])
    whole = [piece for piece in PIECES if piece.isascii() and piece.isalpha()]
    chosen = random.Random(3)
    words = chosen.choices(whole, k=90)
    text = " ".join(words)
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
    # If it is tagged by windows of 38 words that share 9, I expect each word's tag and score to be
    # those of the pipeline for the window that reads more around it.
    [answer] = model.classify([text])
    assert (answer.windows, answer.truncated, answer.tokens) == (3, False, 90)
    expected: list[tuple[str, float]] = []
    for window, first, last in ((0, 0, 33), (29, 33, 62), (58, 62, 90)):
        found = tokens(" ".join(words[window : window + 38]))
        expected += [
            (each["entity"], each["score"]) for each in found[first - window : last - window]
        ]
    assert answer.confidence == pytest.approx(min(score for _, score in expected), abs=1e-4)
    spans: list[dict[str, Any]] = []
    for place, (tag, _) in enumerate(expected):
        end = starts[place] + len(words[place])
        if tag == "O":
            continue
        joins = spans and place and expected[place - 1][0][2:] == tag[2:] and tag[0] == "I"
        if joins:
            spans[-1]["end"] = end
        else:
            spans.append({"start": starts[place], "end": end, "label": tag[2:]})
    assert answer.answer["spans"] == spans
    assert any(span["start"] < starts[33] < span["end"] for span in spans), "one across windows"


def test_a_text_beyond_the_last_window_is_said_to_be_truncated(tmp_path: Path) -> None:
    tagger = load_head(
        write(tmp_path / "spans", IOB, of_tokens=True), Task("spans", ("PER", "ORG"))
    )
    judge = load_head(write(tmp_path / "labels", LABELS, **MANY), Task("labels", LABELS))
    text = "peter owes " * 300
    for model in (tagger, judge):
        [answer] = model.classify([text])
        assert (answer.windows, answer.truncated) == (8, True)
        spec = AnswerSpec(answer.kind, model.labels)
        assert read_answer(answer.answer, spec, Asked(text)).value == answer.answer


def test_a_long_text_has_a_label_where_one_of_its_windows_has(tmp_path: Path) -> None:
    model = load_head(write(tmp_path / "tiny", LABELS, **MANY), Task("labels", LABELS))
    [first], [second] = (model.classify([word * 38]) for word in ("peter ", "berlin "))
    [both] = model.classify(["peter " * 38 + "berlin " * 38])
    assert both.windows > 2
    assert isinstance(both.parts, dict)
    assert isinstance(first.parts, dict)
    assert isinstance(second.parts, dict)
    for label in LABELS:
        assert both.parts[label] >= max(first.parts[label], second.parts[label]) - 0.02


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("answers", ["label", "labels"])
def test_labels_without_training_are_the_pipelines_zero_shot(
    tmp_path: Path, architecture: str, answers: str
) -> None:
    # Given a model of entailment and a workflow with labels of its own
    folder = write(tmp_path / "tiny", NLI, architecture=architecture)
    labels = ("money", "film", "people in berlin")
    if answers == "label":
        model: Any = load(folder, labels=labels, hypothesis=HYPOTHESIS)
    else:
        model = load_head(folder, Task("labels", labels, HYPOTHESIS))
    assert model.batches == SERVED[architecture]
    theirs: Any = pipeline("zero-shot-classification", model=folder)
    texts = [*TEXTS, *random_texts(10, 8)]
    for text, answer in zip(texts, check_alone_and_together(model.classify, texts), strict=True):
        said = theirs(
            text,
            candidate_labels=list(labels),
            hypothesis_template=HYPOTHESIS,
            multi_label=answers == "labels",
        )
        expected = dict(zip(said["labels"], said["scores"], strict=True))
        found = (
            answer.parts
            if isinstance(answer, AnswerPrediction)
            else dict(zip(labels, answer.distribution, strict=True))
        )
        assert found == pytest.approx(expected, abs=1e-4), text


def test_a_version_is_of_the_hypothesis_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", NLI)
    one, again, other = (
        load(folder, labels=("money", "film"), hypothesis=hypothesis).model_version
        for hypothesis in (HYPOTHESIS, HYPOTHESIS, "Is it {}?")
    )
    assert one == again != other


def test_each_label_has_its_temperature(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, LABELS, **MANY)
    [plain] = load_head(str(folder), Task("labels", LABELS)).classify(["good film"])
    assert isinstance(plain.parts, dict)

    def told(temperature: Any) -> AnswerPrediction:
        (folder / "calibration.json").write_text(json.dumps({"temperature": temperature}))
        [answer] = load_head(str(folder), Task("labels", LABELS)).classify(["good film"])
        assert isinstance(answer, AnswerPrediction)
        return answer

    def odds(p: float) -> float:
        return p / (1 - p)

    cooled = told({"toxic": 2.0, "Insult": 1.0, "threat": 0.5}).parts
    assert isinstance(cooled, dict)
    assert odds(cooled["toxic"]) ** 2 == pytest.approx(odds(plain.parts["toxic"]))
    assert cooled["insult"] == pytest.approx(plain.parts["insult"])
    assert odds(cooled["threat"]) ** 0.5 == pytest.approx(odds(plain.parts["threat"]))
    same = told(2).parts
    assert isinstance(same, dict)
    assert odds(same["threat"]) ** 2 == pytest.approx(odds(plain.parts["threat"]))
    for wrong, why in (
        ({"toxic": 2.0}, "has temperatures of toxic, not of toxic, insult, threat"),
        ({"toxic": 2.0, "insult": 1.0, "rude": 0.5}, "rude"),
        ({"toxic": 2.0, "insult": 0, "threat": 0.5}, "outside"),
        ({"toxic": "hot", "insult": 1, "threat": 0.5}, "no temperature"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            told(wrong)


def test_the_temperature_of_spans_applies_to_each_token(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write(folder, ("O", "X"), of_tokens=True)
    [plain] = load_head(str(folder), Task("spans", ("X",))).classify(["good film"])
    (folder / "calibration.json").write_text('{"temperature": 2}')
    [cooled] = load_head(str(folder), Task("spans", ("X",))).classify(["good film"])
    assert cooled.answer == plain.answer
    p, q = plain.confidence, cooled.confidence
    assert (q / (1 - q)) ** 2 == pytest.approx(p / (1 - p))


@pytest.mark.parametrize(
    ("names", "of_tokens", "more", "task", "why"),
    [
        (LABELS, False, {}, Task("labels", LABELS), "problem_type of its config is None"),
        (LABELS, False, MANY, Task("labels", ("toxic", "rude")), "the model has the labels toxic"),
        (LABELS, False, MANY, Task("label", LABELS), "does not choose one label among several"),
        (IOB, True, {}, Task("spans", ("PER", "LOC")), "the model tags PER, ORG, the workflow"),
        (IOB, False, {}, Task("spans", ("PER", "ORG")), "no classifier of tokens"),
        (LABELS, True, MANY, Task("labels", LABELS), "its weights lack bert.pooler"),
        (LABELS, False, {}, Task("labels", ("a", "b"), HYPOTHESIS), "begins with 'entail'"),
        (NLI, False, {}, Task("labels", ("x " * 27,), HYPOTHESIS), "leaves .* tokens for a text"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_workflow_is_refused_by_name(
    tmp_path: Path,
    names: Sequence[str],
    of_tokens: bool,
    more: dict[str, Any],
    task: Task,
    why: str,
) -> None:
    folder = write(tmp_path / "tiny", names, of_tokens=of_tokens, **more)
    with pytest.raises(ConfigurationError, match=why):
        load_head(folder, task) if task.answers != "label" else load(folder, labels=task.labels)


@pytest.mark.parametrize(
    "task", [Task("labels", LABELS), Task("spans", LABELS), Task("labels", LABELS, HYPOTHESIS)]
)
def test_the_embedded_model_gives_labels_alone(task: Task) -> None:
    with pytest.raises(ConfigurationError, match=r"'embedded' is .* gives one label"):
        load_head("embedded", task)


def test_a_text_without_a_word_is_unscorable(tmp_path: Path) -> None:
    model = load_head(write(tmp_path / "tiny", IOB, of_tokens=True), Task("spans", ("PER", "ORG")))
    with pytest.raises(Permanent) as refused:
        model.classify(["good", "\u200b"])
    assert refused.value.reason == "unscorable"
