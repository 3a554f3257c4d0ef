"""Resumes an interrupted training with the very items that it began with."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from services.feedback.registry.versions import Registry
from services.feedback.training.labelled_texts import (
    Parts,
    Reviewed,
    is_for_calibration,
    is_held_out,
)
from shared.errors import ConfigurationError


class Plan(BaseModel):
    """What an interrupted training was about: which version on which items, and the seed."""

    parent: str
    seed: int
    replay: str | None
    items: frozenset[str]

    @classmethod
    def of(cls, parent: str, seed: int, replay: Path | None, parts: Parts) -> "Plan":
        """The plan for these parts."""
        given = None if replay is None else str(replay.absolute())
        ids = frozenset(i.item_id for i in (*parts.train, *parts.calibration))
        return cls(parent=parent, seed=seed, replay=given, items=ids)

    @property
    def trained(self) -> frozenset[str]:
        """The items that the weights have seen by now, or may have."""
        return frozenset(item for item in self.items if not is_for_calibration(item))

    def restrict(self, items: Iterable[Reviewed]) -> Iterator[Reviewed]:
        """Without what was decided since, unless it is held out; what was erased stays away."""
        return (i for i in items if i.item_id in self.items or is_held_out(i.item_id))


def start_unfinished(registry: Registry, plan: Plan) -> None:
    """Forget what was interrupted before, and note what is being trained now."""
    forget_unfinished(registry)
    registry.unfinished.mkdir(parents=True)
    (registry.unfinished / "plan.json").write_text(plan.model_dump_json(), encoding="utf-8")


def read_unfinished(registry: Registry) -> Plan:
    """What was being trained when it was interrupted.

    Raises:
        ConfigurationError: nothing was.
    """
    try:
        return Plan.model_validate_json((registry.unfinished / "plan.json").read_bytes())
    except (OSError, ValueError):
        raise ConfigurationError(
            f"no interrupted training of {registry.workflow} to resume"
        ) from None


def forget_unfinished(registry: Registry) -> None:
    """Nothing to resume any more."""
    shutil.rmtree(registry.unfinished, ignore_errors=True)


def checkpoint_of(registry: Registry) -> Path | None:
    """Where the training writes its state; None for one that nobody would resume."""
    folder = registry.unfinished
    return folder / "epoch.pt" if folder.is_dir() else None
