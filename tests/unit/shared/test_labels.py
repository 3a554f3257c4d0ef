"""Is a label the same one wherever it is compared, and no other?"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hitl.__main__ import app
from services.feedback.training.replay_set import from_file
from services.feedback.training.train_texts import labelled
from services.inference.model import label_order
from services.review_ui.tasks import gold
from services.router.policy import Policy
from services.router.route import route
from shared.errors import ConfigurationError
from shared.events.models import Item, Prediction
from shared.formats.json_lines import numbered
from shared.labels import distinct, known_as, label_key, of_model, spelled, spellings
from shared.workflows.files import Workflow, read_workflow_file
from tests.support.example_events import SCORED

LABELS = ("negative", "positive")


@pytest.mark.parametrize(
    ("given", "label"),
    [(0, "0"), (False, "false"), (1.5, "1.5"), (" a ", "a"), ("0", "0"), ("none", "none")],
)
def test_a_value_of_json_is_the_label_that_it_spells(given: object, label: str) -> None:
    assert spelled(given) == label


@pytest.mark.parametrize("given", [None, "", " ", [], {}])
def test_what_spells_no_label_is_none(given: object) -> None:
    assert spelled(given) is None


def test_case_blanks_and_composition_make_no_other_label() -> None:
    assert known_as(" POSITIVE", LABELS) == "positive"
    assert known_as("Stra\u00dfe", ["strasse"]) == "strasse"
    assert label_key("cafe\u0301") == label_key("Caf\u00e9")
    assert known_as(None, ["none"]) is None
    assert known_as(0, ["0", "1"]) == "0"
    assert len({label_key(label) for label in ("C", "C++", "C#", "0", "00", "a b", "ab")}) == 7


def test_a_label_that_somebody_types_is_looked_for_as_rows_spell_it() -> None:
    # As the workflows do, whose spelling travels
    assert spellings(" STRASSE", ["stra\u00dfe", "platz"]) == ["stra\u00dfe"]
    # Where they name none, as models mostly do
    assert {"positive", "POSITIVE", "Positive", "pOsitive"} == set(spellings("pOsitive ", []))


@pytest.mark.parametrize("pair", [("a", "A"), ("a", " a"), ("a", "a"), ("a", " ")])
def test_two_labels_that_are_the_same_are_refused_by_name(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    # Given a workflow's file, a model, texts and a request to make a workflow with such labels
    file = tmp_path / "w.toml"
    labels = json.dumps([*pair, "b"])
    file.write_text(f'[workflow]\nname = "w"\nlabels = {labels}\n[policy]\nthreshold = 0.9\n')
    # I expect each of them to be refused
    with pytest.raises(ConfigurationError, match=r"named more than once|blank"):
        distinct(pair)
    with pytest.raises(ConfigurationError, match=r"named more than once|blank"):
        read_workflow_file(file)
    with pytest.raises(ConfigurationError, match=r"named more than once|blank"):
        label_order((*pair, "b"), ("a", "b"))  # else the shares of two labels: not 1 in all
    with pytest.raises(ConfigurationError, match=r"named more than once|has no name"):
        of_model(dict(enumerate(pair)), 2)


def test_a_model_whose_labels_are_numbers_or_null_is_read_as_what_it_says() -> None:
    assert of_model({0: 1, 1: False}, 2) == ("1", "false")
    with pytest.raises(ConfigurationError, match="label 1 has no name"):
        of_model({0: "a", 1: None}, 2)
    assert label_order(("1", "false"), ("False", "1")) == [1, 0]


def test_labelled_texts_keep_zero_and_false_and_lack_what_is_null(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    rows: list[dict[str, object]] = [
        {"text": "one", "label": 0}, {"text": "two", "label": False}, {"text": "x", "label": "0"}
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    examples, labels = labelled(file)
    assert labels == ("0", "false")
    assert [example.shares for example in examples] == [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    # Replayed beside a workflow's own, the same labels are the same
    old = from_file(file, ["FALSE", "0"])
    assert {example.text for example in old.examples} | {j.text for j in old.held_out} == {
        "one", "two", "x"
    }  # fmt: skip
    # and null is none, also where a label is called so
    file.write_text('{"text": "one", "label": null}\n{"text": "two", "label": "none"}\n')
    for read in (labelled, lambda path: from_file(path, ["none", "a"])):
        with pytest.raises(ConfigurationError, match="row 1: needs a text and a label"):
            read(file)
    # and two spellings of one label are refused by name
    file.write_text('{"text": "one", "label": "a"}\n{"text": "two", "label": "A"}\n')
    with pytest.raises(ConfigurationError, match="'A' and 'a'"):
        labelled(file)


def test_the_policy_knows_a_label_in_any_spelling() -> None:
    # Given a policy that spells labels its own way, with the workflow's labels known or not
    for labels in (LABELS, ()):
        policy = Policy.from_mapping(
            {
                "threshold": 0.9,
                "always_review": ["Negative "],
                "label_thresholds": {"POSITIVE": 0.5},
            },
            labels,
        )
        item = Item(id="a", text="x", received_at=SCORED.occurred_at)

        def routed(label: str, policy: Policy = policy, item: Item = item) -> str:
            shares = {label: 0.7, "other": 0.3}
            prediction = Prediction(
                label=label, confidence=0.7, distribution=shares, model_version="m"
            )
            return route(policy, "w", item, prediction, "", "", SCORED.occurred_at).route

        # I expect both to hold whatever the model calls them
        assert routed("positive") == routed("Positive") == "accept"
        assert routed("negative") == routed("NEGATIVE") == "review"
    with pytest.raises(ConfigurationError, match="two keys name the same label"):
        Policy.from_mapping({"threshold": 0.9, "label_thresholds": {"a": 0.5, "A": 0.6}})


def test_known_items_are_kept_in_the_workflows_words() -> None:
    flow = Workflow(name="sentiment", labels=LABELS)

    def read(line: str) -> list[gold.GoldLine | gold.GoldAnswer]:
        return gold.read(numbered([line.encode()]), flow)

    (known,) = read(
        '{"id": "a", "text": "x", "label": " POSITIVE",'
        ' "distribution": {"Positive": 0.8, "negative": 0.2}}'
    )
    assert isinstance(known, gold.GoldLine)
    assert (known.label, known.distribution) == ("positive", {"positive": 0.8, "negative": 0.2})
    for line, said in (
        ('{"id": "a", "text": "x", "label": null}', "line 1: label"),
        ('{"id": "a", "text": "x", "label": "angry"}', "label 'angry' is none of"),
        (
            '{"id": "a", "text": "x", "label": "positive", "distribution": {"angry": 1}}',
            "label 'angry' is none of",
        ),
        (
            '{"id": "a", "id": "b", "text": "x", "label": "positive"}',
            "'id' is named more than once",
        ),
    ):
        with pytest.raises(gold.GoldError, match=said):
            read(line)


def test_labels_that_look_like_markup_are_listed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given labels that a terminal's markup would swallow, or end in an error
    labels = json.dumps(["[red]", "[/]"])
    (tmp_path / "w.toml").write_text(
        f'[workflow]\nname = "w"\nlabels = {labels}\n[policy]\nthreshold = 0.9\n'
    )
    monkeypatch.setenv("HITL_WORKFLOWS_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    # I expect to read them
    listed = CliRunner().invoke(app, ["workflow", "list"])
    assert listed.exit_code == 0, listed.output
    assert "[red], [/]" in listed.stdout
