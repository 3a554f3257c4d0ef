"""Does the registry stay whole when a process dies, or two people act, between two of its steps?"""

from pathlib import Path

import pytest

from services.feedback.registry.versions import Change, Registry
from shared.errors import ConfigurationError
from tests.support.model_versions import NOW, receipt_of


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Three versions without weights; the first two were promoted, one after the other."""
    registry = Registry(tmp_path, "sentiment")
    for version in ("v1", "v2", "v3"):
        receipt = receipt_of(version, f"m@{version}")
        with registry.staging() as staged:
            (staged / version).mkdir()
            registry.register(staged / version, receipt, "a test")
    promote(registry, "v1")
    promote(registry, "v2")
    return registry


def promote(registry: Registry, version: str) -> None:
    registry.promote(version, by="grace", at=NOW)


class Killed(Exception):
    """The process ends here."""


def killed_before_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_registry: Registry, _change: Change) -> None:
        raise Killed

    monkeypatch.setattr(Registry, "_record", dies)


def test_a_promotion_whose_record_was_lost_can_be_rolled_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that died after it had put v3 in use and before it wrote that down
    with monkeypatch.context() as dying, pytest.raises(Killed):
        killed_before_the_record(dying)
        promote(registry, "v3")
    assert registry.current_version() == "v3"
    # If I roll back, I expect the version before it, then the one before that, then the first
    for expected in ("v2", "v1", "base"):
        assert registry.rollback(by="grace", at=NOW).version == expected
    with pytest.raises(ConfigurationError, match="nothing to roll back"):
        registry.rollback(by="grace", at=NOW)


def test_a_rollback_whose_record_was_lost_is_not_undone_by_the_next(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process that died after it had gone back to v1 and before it wrote that down
    with monkeypatch.context() as dying, pytest.raises(Killed):
        killed_before_the_record(dying)
        registry.rollback(by="grace", at=NOW)
    assert registry.current_version() == "v1"
    # If I roll back again, I expect one step more
    assert registry.rollback(by="grace", at=NOW).version == "base"
    # and a promotion after it to have its own way back.
    promote(registry, "v3")
    assert registry.rollback(by="grace", at=NOW).version == "base"


def test_a_first_promotion_whose_record_was_lost_can_be_rolled_back(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a workflow of which nothing was promoted before, and the same death
    fresh = Registry(tmp_path, "sentiment")
    for name in ("current.json", "history.jsonl"):
        (fresh.folder / name).unlink()
    with monkeypatch.context() as dying, pytest.raises(Killed):
        killed_before_the_record(dying)
        promote(fresh, "v1")
    # I expect the way back to the workflow's own model
    assert fresh.rollback(by="grace", at=NOW).version == "base"


def test_a_version_that_was_compared_with_another_than_the_one_in_use_is_not_promoted(
    registry: Registry,
) -> None:
    # Given a comparison of v3 with v1, while somebody else promoted v2
    # I expect no promotion on the strength of it
    with pytest.raises(ConfigurationError, match="v2 is in use by now"):
        registry.promote("v3", by="grace", at=NOW, over="v1")
    assert registry.current_version() == "v2"
    assert registry.promote("v3", by="grace", at=NOW, over="v2").version == "v3"
