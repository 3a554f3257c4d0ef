"""Is a workflow's file understood, and is what is wrong with it said with its name?"""

from pathlib import Path

import pytest

from services.router.policy import Policy
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
