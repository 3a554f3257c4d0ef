"""Is the scaffold of a workflow valid, whatever it is called and whatever its labels are?"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hitl.support.workflow_new import (
    checked_kind,
    checked_labels,
    checked_name,
    model_of,
    render,
    schema_text,
    written_last,
)
from services.router.policy import Policy
from shared.answers.base import KINDS, Kind
from shared.errors import ConfigurationError
from shared.workflows.files import read_workflow_file

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "deploy" / "workflows" / "sentiment.toml"


def test_the_shipped_workflow_is_what_the_scaffold_makes() -> None:
    # Given what is said of it, I expect the same file: the keys are explained once.
    flow = read_workflow_file(SHIPPED).workflow
    title = "The default workflow: is a text positive or negative?"
    made = render("sentiment", flow.labels, "embedded", flow.guideline, title)
    assert made == SHIPPED.read_text()


@pytest.mark.parametrize(
    ("labels", "guideline"),
    [
        (("spam", "ham"), "Is it wanted?"),
        (('a "b"', "c\\d", "日本語 label"), 'Three """ quotes and a \\ backslash'),
        (("yes.no", "# none", "$x"), "$name costs ${model}"),
    ],
)
def test_any_labels_and_any_guideline_make_a_valid_file(
    tmp_path: Path, labels: tuple[str, ...], guideline: str
) -> None:
    path = tmp_path / "new-one_2.toml"
    path.write_text(render("new-one_2", labels, "me/model", guideline), encoding="utf-8")
    flow = read_workflow_file(path).workflow
    assert (flow.labels, flow.guideline, flow.model) == (labels, guideline, "me/model")
    assert Policy.of_file(read_workflow_file(path)).threshold == 0.85


@pytest.mark.parametrize("name", ["Tweets", "2nd", "a b", "", "a.b", "../a", "é", "unknown"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a workflow name"):
        checked_name(name)


def folder(path: Path, file: str, **told: object) -> str:
    path.mkdir()
    (path / file).write_text(json.dumps(told))
    return str(path)


def test_labels_are_the_models(tmp_path: Path) -> None:
    adapter = folder(tmp_path / "adapter", "calibration.json", labels=["a", "b", "c"])
    checkpoint = folder(tmp_path / "cased", "config.json", id2label={"0": "Spam", "1": "Ham"})
    nameless = folder(
        tmp_path / "nameless", "config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"}
    )
    # Given none, I expect the model's own,
    assert checked_labels(adapter, ()) == ("a", "b", "c")
    assert checked_labels(checkpoint, ()) == ("Spam", "Ham")
    # given some, those, in any order and case, or any where the model has no names for them,
    assert checked_labels(adapter, ("c", "a", "b")) == ("c", "a", "b")
    assert checked_labels(checkpoint, ("ham", "spam")) == ("ham", "spam")
    assert checked_labels(nameless, ("no", "yes")) == ("no", "yes")
    assert checked_labels("some/model", ("x", "y")) == ("x", "y")
    # and an error that says what to do where they cannot be.
    for model, wanted, words in (
        ("embedded", ("spam", "ham"), "has the labels negative, positive, not spam, ham"),
        (adapter, ("a", "b"), "use those"),
        ("some/model", (), "give the labels"),
        ("embedded", ("negative", "negative"), "more than once"),
        (str(tmp_path / "none"), (), "no such folder"),
        (str(tmp_path), (), "has no model"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            checked_labels(model, wanted)


def written(folder: Path, kind: Kind, name: str = "new-one") -> Path:
    """The file of a new workflow of this kind, with what lies beside it."""
    path = folder / f"{name}.toml"
    model = model_of(kind, "")
    text = render(name, checked_labels(model, (), kind), model, kind=kind)
    with written_last(path, text, schema_text(kind)):
        pass
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_answer_has_a_valid_file(tmp_path: Path, kind: Kind) -> None:
    path = written(tmp_path, kind)
    content = read_workflow_file(path)
    flow = content.workflow
    assert (flow.answer, Policy.of_file(content, path).threshold) == (kind, 0.85)
    assert flow.has_model == (kind == "label")
    # with all that is said of its kind, and nothing of another's
    told = path.read_text()
    assert ("\nlabels = [" in told) == (kind in ("label", "labels", "spans"))
    assert ("schema.json" in told) == (kind in ("form", "approval"))
    assert ("overlap" in told) == (kind == "spans")
    assert ("\nanswer = " in told) == (kind != "label")
    assert "$" not in told
    assert max(map(len, told.splitlines())) <= 104
    assert (tmp_path / "new-one.schema.json").exists() == (kind == "form")


@pytest.mark.parametrize("kind", KINDS)
def test_the_commented_keys_of_a_policy_are_valid_too(tmp_path: Path, kind: Kind) -> None:
    # Given the file of each kind / If its example of a rule and of a threshold are taken in
    path = written(tmp_path, kind)
    before, rule, after = path.read_text().partition("# [[policy.rules]]\n")
    example, _, conditions = after.partition("#\n# Conditions:\n")
    before = re.sub(r"(?m)^# (.* = 0\.9)$", r"\1", before)
    text = before + re.sub(r"(?m)^# ", "", rule + example)
    # and each condition that it explains, as a rule of its own
    value = r"(?:\{.*?\}|\[.*?\]|[^\s,]+)"
    found = re.findall(rf"(?m)^#   (\w+ = {value})(?= {{3,}}|$|, \w+ = \d)", conditions)
    assert len(found) >= 7
    for number, condition in enumerate(found):
        text += (
            f'\n[[policy.rules]]\nname = "{number}"\nwhen = {{ {condition} }}\nthen = "review"\n'
        )
    path.write_text(text)
    # I expect a policy with all of them
    policy = Policy.of_file(read_workflow_file(path), path)
    assert len(policy.rules) == 1 + len(found)
    assert (policy.label_thresholds != {}) == (kind != "text")


def test_what_a_kind_has_not_is_refused(tmp_path: Path) -> None:
    for call, words in (
        (lambda: checked_kind("lables"), "no kind of answer 'lables'.*did you mean 'labels'"),
        (lambda: model_of("form", "some/model"), "none of ours answers with form"),
        (lambda: checked_labels("none", ("a",), "text"), "they mean nothing where text"),
        (lambda: checked_labels("some/model", (), "spans"), "give the labels of some/model"),
        (lambda: checked_labels("none", (), "label"), "give the labels"),
        (lambda: render("x", ("a",), "embedded", kind="spans"), "the embedded one answers with"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            call()
    # And a schema that is there already stays as it is
    (tmp_path / "new-one.schema.json").write_text("{}")
    written(tmp_path, "form")
    assert (tmp_path / "new-one.schema.json").read_text() == "{}"


def test_where_the_file_cannot_be_written_nothing_is_declared(tmp_path: Path) -> None:
    # Given a folder that cannot be written / If I make a workflow in it
    # I expect to hear what to do, before anything else is done.
    with (
        pytest.raises(ConfigurationError, match=r"queues are not declared.*hitl prepare"),
        written_last(tmp_path / "missing" / "mood.toml", "text"),
    ):
        pytest.fail("the block was entered")
    # And where what comes before the file fails, I expect no file; else the whole one, last.
    with pytest.raises(KeyboardInterrupt), written_last(tmp_path / "mood.toml", "text"):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with written_last(tmp_path / "mood.toml", "text"):
        assert list(tmp_path.glob("*.toml")) == []
    assert [file.name for file in tmp_path.iterdir()] == ["mood.toml"]


def test_the_command_writes_once_and_says_what_is_next(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    flows.mkdir()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HITL_")}
    environment = {**clean, "HITL_WORKFLOWS_DIR": str(flows), "HITL_HOME": str(tmp_path)}
    environment.pop("AMQP_URL", None)

    def new(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hitl", "workflow", *words],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    # If I make a workflow where no broker is known
    done = new("new", "mood", "--guideline", "How does it feel?")
    # I expect a valid file, who declares its queues, and how to go on,
    assert done.returncode == 0, done.stderr
    assert read_workflow_file(flows / "mood.toml").workflow.guideline == "How does it feel?"
    assert "not declared yet" in done.stdout
    assert "routing key mood" in done.stdout
    # not the same again,
    before = (flows / "mood.toml").read_bytes()
    again = new("new", "mood")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    assert (flows / "mood.toml").read_bytes() == before
    # one of another kind, of which all is valid,
    assert "bill.schema.json is an example" in new("new", "bill", "--answer", "form").stdout
    checked = new("check")
    assert checked.returncode == 0, checked.stderr
    assert "bill.toml: valid; answers of kind form; policy" in checked.stdout
    # and the list to show it beside one that is broken.
    (flows / "bad.toml").write_text("[workflow]\n")
    listed = new("list").stdout
    assert "negative, positive" in listed
    assert "bad" in listed
