"""Is a workflow's file understood, and is what is wrong with it said with its name?"""

import json
from pathlib import Path

import pytest

from services.router.policy import Policy
from shared.answers.base import AnswerError, Asked
from shared.answers.reading import read_answer
from shared.errors import ConfigurationError
from shared.service.settings import Settings
from shared.workflows.files import (
    configured_workflows,
    read_workflow_file,
    workflow_of,
    workflow_paths,
)

GOOD = '[workflow]\nname = "topics"\nlabels = ["a", "b"]\n[policy]\nthreshold = 0.5\n'


def write(folder: Path, content: str | bytes, name: str = "topics") -> Path:
    path = folder / f"{name}.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_says_its_name_labels_model_and_policy(tmp_path: Path) -> None:
    content = read_workflow_file(write(tmp_path, GOOD))
    assert (content.workflow.name, content.workflow.labels) == ("topics", ("a", "b"))
    assert content.workflow.model == "embedded"
    assert content.policy == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[workflow", "end of document"),
        (b"\xff\xfe", "utf-8"),
        ("", "workflow: Field required"),
        (GOOD.replace("topics", "Topics"), "workflow.name"),
        (GOOD.replace("topics", "other"), "name is 'other', not the file's 'topics'"),
        (GOOD.replace('"b"', '"a"'), "workflow.labels: Value error, named more than once: 'a'"),
        (GOOD.replace('"b"', '""'), "workflow.labels.1"),
        (GOOD.replace("labels", "lables"), "workflow.lables"),
        (GOOD.replace("[policy]", "[polcy]"), "polcy"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_path(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as refused:
        read_workflow_file(path)
    assert str(path) in str(refused.value)
    assert problem in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        read_workflow_file(tmp_path / "none.toml")


def test_all_files_are_served_unless_some_are_named(tmp_path: Path) -> None:
    for name in ("topics", "mood"):
        write(tmp_path, GOOD.replace("topics", name), name)
    (tmp_path / "notes.txt").write_text("not a workflow")
    assert set(workflow_paths(tmp_path)) == {"mood", "topics"}
    settings = Settings(workflows_dir=tmp_path, workflows=("mood",))
    assert {name: w.name for name, w in configured_workflows(settings).items()} == {"mood": "mood"}


def test_nothing_to_serve_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no workflow"):
        workflow_paths(tmp_path)
    write(tmp_path, GOOD)
    with pytest.raises(ConfigurationError, match="no file for workflow mood"):
        workflow_paths(tmp_path, ["topics", "mood"])


@pytest.mark.parametrize(
    ("queue", "key", "expected"),
    [
        ("hitl.topics.inference", "whatever", "topics"),
        ("hitl.router", "item.scored.topics", "topics"),
        ("hitl.log", "topics", "topics"),
        ("hitl.log", "", "unknown"),
        ("hitl.log", "Not A Workflow", "unknown"),
    ],
)
def test_a_message_belongs_to_the_workflow_of_its_queue_or_key(
    queue: str, key: str, expected: str
) -> None:
    assert workflow_of(queue, key) == expected


@pytest.mark.parametrize("path", sorted(Settings().workflows_dir.glob("*.toml")), ids=str)
def test_the_workflows_that_we_ship_are_valid(path: Path) -> None:
    assert read_workflow_file(path).workflow.labels
    assert Policy.of_file(read_workflow_file(path)).version


FORM = '[workflow]\nname = "topics"\nanswer = "form"\nschema = "topics.schema.json"\n'
TEXT = '[workflow]\nname = "topics"\nanswer = "text"\n'
SPANS = GOOD.replace("labels =", 'answer = "spans"\nlabels =')


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            TEXT.replace("text", "txt"),
            "workflow.answer: there is no kind 'txt', only label,",
        ),
        (TEXT.replace("text", "txt"), "; did you mean 'text'?"),
        (TEXT.replace('"text"', '["text"]'), "workflow.answer: there is no kind ['text']"),
        (TEXT + 'labels = ["a"]', 'workflow: labels: means nothing where answer = "text"'),
        (
            TEXT + 'model = "embedded"',
            "model: none of ours answers with text: leave it out",
        ),
        (TEXT + "overlap = true", 'overlap: means nothing where answer = "text"'),
        (TEXT + 'schema = "topics.schema.json"', 'schema: means nothing where answer = "text"'),
        (SPANS.replace("labels", "# labels"), "labels: name them, since there is no model"),
        (
            SPANS.replace("labels", 'model = "embedded"\nlabels'),
            "the embedded one answers with one label",
        ),
        ('[workflow]\nname = "topics"\nmodel = "none"\n', "labels: name them"),
        (FORM.replace("schema", "# schema"), "schema: name the file of the JSON Schema"),
        (FORM.replace("topics.schema", "topic.schema"), "topic.schema.json: No such file"),
        (FORM.replace("topics.schema", "topic.schema"), "; did you mean 'topics.schema.json'?"),
        (FORM.replace('"topics.schema.json"', "3"), "workflow.schema: must be the path of a file"),
    ],
)
def test_what_means_nothing_for_a_kind_of_answer_is_named(
    tmp_path: Path, content: str, problem: str
) -> None:
    (tmp_path / "topics.schema.json").write_text("{}")
    path = write(tmp_path, content)
    with pytest.raises(ConfigurationError) as refused:
        Policy.of_file(read_workflow_file(path), path)
    assert str(path) in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("{", "no JSON: "),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "must be an object"),
        ('{"type": "array"}', "type: must be \"object\", not 'array'"),
        ('{"properties": {"total": {"type": "numbr"}}}', "total.type: 'numbr' is not one of"),
        ('{"properties": {"total": {"pattern": "("}}}', "total.pattern: '(' is not a 'regex'"),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', "$schema: must be"),
        ('{"properties": {"a": {"$ref": "#/$defs/b"}}}', "$ref: not in this file: #/$defs/b"),
        ('{"$ref": "http://127.0.0.1:1/s.json"}', "not in this file: http://127.0.0.1:1/s.json"),
        ('{"$ref": "#"}', "$ref: refers to itself without end"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_its_place(
    tmp_path: Path, schema: str, problem: str
) -> None:
    # Given what only an answer would have run into / I expect it refused before there is one
    (tmp_path / "topics.schema.json").write_text(schema)
    path = write(tmp_path, FORM)
    with pytest.raises(ConfigurationError) as refused:
        read_workflow_file(path)
    assert str(path) in str(refused.value)
    assert "workflow.schema: topics.schema.json: " in str(refused.value)
    assert problem in str(refused.value)


def test_a_schema_may_refer_to_its_own_parts(tmp_path: Path) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"money": {"$anchor": "money", "type": "number", "minimum": 0}},
        "properties": {"total": {"$ref": "#money"}, "part": {"$ref": "#"}},
    }
    (tmp_path / "topics.schema.json").write_text(json.dumps(schema))
    flow = read_workflow_file(write(tmp_path, FORM)).workflow
    assert (flow.model, flow.has_model, flow.spec.kind) == ("none", False, "form")
    good = {"form": {"total": 1, "part": {"total": 2}}}
    assert read_answer(good, flow.spec, Asked("")).value == good
    with pytest.raises(AnswerError, match=r"form\.part\.total: must fit"):
        read_answer({"form": {"part": {"total": -1}}}, flow.spec, Asked(""))


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('answer = "labels"\nmodel = "x"', "labels: name them, which a model of labels must have"),
        ('answer = "spans"\nmodel = "x"', "labels: name them, which a model of spans must have"),
        (
            'labels = ["a", "b"]\nhypothesis = "{}?"',
            'hypothesis: "embedded" is no model of entailment',
        ),
        (
            'model = "x"\nproducer_predictions = true',
            "labels: name them, since producers may predict others",
        ),
        (
            'labels = ["a"]\nmodel = "x"\nhypothesis = "{}?"',
            "labels: name them, a hypothesis is made of each",
        ),
        ('labels = ["a", "b"]\nmodel = "x"\nhypothesis = "about"', "must have {} once"),
        ('labels = ["a", "b"]\nmodel = "x"\nhypothesis = "{}{0}"', "must have {} once"),
        (
            'answer = "spans"\nlabels = ["a"]\nmodel = "x"\nhypothesis = "{}?"',
            "hypothesis: means nothing where",
        ),
    ],
)
def test_labels_and_hypotheses_that_a_model_needs_are_asked_for(
    tmp_path: Path, lines: str, problem: str
) -> None:
    path = write(tmp_path, f'[workflow]\nname = "topics"\n{lines}\n')
    with pytest.raises(ConfigurationError) as refused:
        read_workflow_file(path)
    assert problem in str(refused.value)
