"""Does a worker change its model without a restart, and keep the last good one when it should?"""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import REGISTRY as METRICS

from services.feedback.registry.versions import Registry
from services.inference.classifier import Classifier, load
from services.inference.model_feed import RETRY_SECONDS, ModelFeed
from shared.errors import ConfigurationError
from shared.models.task import Task
from shared.workflows.files import Workflow
from tests.support.model_versions import NOW, add_version

SENTIMENT = Workflow(name="sentiment", labels=("negative", "positive"))


def read(model: str, task: Task) -> Classifier:
    return load(model, labels=task.labels)


class Turned:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def following(
    folder: Path, workflow: Workflow = SENTIMENT, now: Callable[[], float] = time.monotonic
) -> ModelFeed:
    feed = ModelFeed(folder, read, now)
    feed.add(workflow)
    return feed


def live(feed: ModelFeed) -> str:
    return feed.model("sentiment").model_version


def refused(role: str = "live") -> float:
    labels = {"workflow": "sentiment", "role": role}
    return METRICS.get_sample_value("hitl_model_refused", labels) or 0.0


def shown(version: str, role: str = "live") -> float | None:
    labels = {"workflow": "sentiment", "model_version": version, "role": role}
    return METRICS.get_sample_value("hitl_model_info", labels)


def test_a_promotion_and_a_rollback_are_followed(tmp_path: Path) -> None:
    feed = following(tmp_path)
    base = live(feed)
    assert base.startswith("embedded@")
    assert shown(base) == 1
    # Given a version, promoted
    version = add_version(tmp_path, 2.0)
    registry = Registry(tmp_path, "sentiment")
    registry.promote("v1", by="a test", at=NOW)
    # If the worker looks, I expect it in use, and named in the metrics
    feed.look()
    assert live(feed) == version.model_version
    assert (shown(version.model_version), shown(base)) == (1, None)
    # and after a rollback the old one.
    registry.rollback(by="a test", at=NOW)
    feed.look()
    assert live(feed) == base
    assert (shown(version.model_version), shown(base)) == (None, 1)


def test_a_worker_shows_the_hash_of_its_files(tmp_path: Path) -> None:
    # Given a worker, and a version that is promoted
    feed = following(tmp_path)
    base = feed.model("sentiment")
    add_version(tmp_path, 2.0)
    Registry(tmp_path, "sentiment").promote("v1", by="a test", at=NOW)

    def files(version: str, sha256: str) -> float | None:
        labels = {"workflow": "sentiment", "model_version": version, "sha256": sha256}
        return METRICS.get_sample_value("hitl_model_files_info", {**labels, "batches": "packed"})

    assert files(base.model_version, base.sha256) == 1
    # If it takes it over, I expect the hash of its files, of which the version has the beginning
    feed.look()
    now = feed.model("sentiment")
    assert now.sha256[:12] == now.model_version.rpartition("@")[2]
    assert files(now.model_version, now.sha256) == 1
    assert files(base.model_version, base.sha256) is None


def test_a_worker_starts_with_the_version_in_use(tmp_path: Path) -> None:
    version = add_version(tmp_path, 2.0)
    Registry(tmp_path, "sentiment").promote("v1", by="a test", at=NOW)
    assert live(following(tmp_path)) == version.model_version


def without_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def half_written(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-5_000])


def another_temperature(folder: Path) -> None:
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace("3.0", "0.5"))


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


BREAKAGES = [without_weights, half_written, another_temperature, gone]


@pytest.mark.parametrize("breaks", BREAKAGES, ids=lambda one: one.__name__)
def test_a_broken_version_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, breaks: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    # Given a worker on v1, and v2, which breaks after it was promoted
    first = add_version(tmp_path, 2.0)
    registry = Registry(tmp_path, "sentiment")
    registry.promote("v1", by="a test", at=NOW)
    clock = Turned()
    feed = following(tmp_path, now=clock)
    second = add_version(tmp_path, 3.0)
    registry.promote("v2", by="a test", at=NOW)
    kept = tmp_path / "kept"
    shutil.copytree(registry.folder / "v2", kept)
    breaks(registry.folder / "v2")
    # If the worker looks, I expect v1 to stay, and to be told
    with caplog.at_level(logging.ERROR):
        feed.look()
    assert live(feed) == first.model_version
    assert refused() == 1
    assert "keeping the last good one" in caplog.text
    # and a worker that starts now to run the version before.
    assert live(following(tmp_path)) == first.model_version
    # If it is repaired, I expect it to be taken over after a while, without anybody's help
    shutil.rmtree(registry.folder / "v2", ignore_errors=True)
    shutil.copytree(kept, registry.folder / "v2")
    feed.look()
    assert live(feed) == first.model_version, "not tried again at every look"
    clock.now += RETRY_SECONDS
    feed.look()
    assert live(feed) == second.model_version
    assert refused() == 0


def test_a_version_with_other_labels_is_refused_whether_or_not_the_workflow_names_its_own(
    tmp_path: Path,
) -> None:
    for labels in (("negative", "positive"), ()):
        folder = tmp_path / str(len(labels))
        workflow = Workflow(name="sentiment", labels=labels)
        feed = following(folder, workflow)
        base = live(feed)
        add_version(folder, 2.0, labels=("ham", "spam"))
        Registry(folder, "sentiment").promote("v1", by="a test", at=NOW)
        feed.look()
        assert live(feed) == base
        assert refused() == 1


def test_a_file_that_cannot_be_understood_or_has_gone_changes_nothing(tmp_path: Path) -> None:
    version = add_version(tmp_path, 2.0)
    Registry(tmp_path, "sentiment").promote("v1", by="a test", at=NOW)
    feed = following(tmp_path)
    current = tmp_path / "sentiment" / "current.json"
    good = current.read_text()
    for content in ("{", '{"version": "v1"}', good.replace('"v1"', '"../../../etc"')):
        current.write_text(content)
        feed.look()
        assert live(feed) == version.model_version
        assert refused() == 1
    current.unlink()
    feed.look()
    assert live(feed) == version.model_version


def test_a_start_without_any_good_version_runs_the_workflows_own_model(tmp_path: Path) -> None:
    add_version(tmp_path, 2.0)
    Registry(tmp_path, "sentiment").promote("v1", by="a test", at=NOW)
    gone(tmp_path / "sentiment" / "v1")
    feed = following(tmp_path)
    assert live(feed).startswith("embedded@")
    assert refused() == 1


def test_a_candidate_comes_and_goes_and_never_decides(tmp_path: Path) -> None:
    feed = following(tmp_path)
    base = live(feed)
    version = add_version(tmp_path, 2.0)
    registry = Registry(tmp_path, "sentiment")
    served = feed.add(SENTIMENT)
    registry.shadow("v1", 0.25, by="a test", at=NOW)
    feed.look()
    assert live(feed) == base
    assert served.candidate is not None
    assert served.candidate.classifier.model_version == version.model_version
    assert served.candidate.share == 0.25
    assert shown(version.model_version, "shadow") == 1
    # A broken candidate is none, and the live model is not touched.
    add_version(tmp_path, 3.0)
    registry.shadow("v2", 0.25, by="a test", at=NOW)
    without_weights(registry.folder / "v2")
    feed.look()
    assert live(feed) == base
    assert served.candidate is None
    assert (refused("live"), refused("shadow")) == (0, 1)
    assert shown(version.model_version, "shadow") is None
    registry.shadow(None, 1.0, by="a test", at=NOW)
    feed.look()
    assert refused("shadow") == 0


def test_the_registry_refuses_what_was_changed_and_remembers_who_did_what(tmp_path: Path) -> None:
    registry = Registry(tmp_path, "sentiment")
    for temperature in (2.0, 3.0, 4.0):
        add_version(tmp_path, temperature)
    # Given three versions of which one has changed
    another_temperature(registry.folder / "v2")
    with pytest.raises(ConfigurationError, match=r"v2 is not what was registered: calibration"):
        registry.promote("v2", by="ada", at=NOW)
    with pytest.raises(ConfigurationError, match="it has base, v1, v2, v3"):
        registry.promote("v7", by="ada", at=NOW)
    # If v1 and then v3 are promoted, I expect each rollback to go one step back
    registry.promote("v1", by="ada", at=NOW)
    with pytest.raises(ConfigurationError, match="in use already"):
        registry.promote("v1", by="ada", at=NOW)
    registry.promote("v3", by="grace", at=NOW, forced="a reason")
    assert registry.rollback(by="ada", at=NOW).version == "v1"
    assert registry.rollback(by="ada", at=NOW).version == "base"
    with pytest.raises(ConfigurationError, match="nothing to roll back"):
        registry.rollback(by="ada", at=NOW)
    told = [(c.action, c.version, c.by, c.forced) for c in registry.history()]
    assert told == [
        ("registered", "v1", "a test", None),
        ("registered", "v2", "a test", None),
        ("registered", "v3", "a test", None),
        ("promoted", "v1", "ada", None),
        ("promoted", "v3", "grace", "a reason"),
        ("rolled back", "v1", "ada", None),
        ("rolled back", "base", "ada", None),
    ]
