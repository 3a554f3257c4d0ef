"""The audit panel's draw: the items that people review blind, whatever the model says."""

from typing import NamedTuple

from shared.hashing import hash01


class Draw(NamedTuple):
    """What `shared.events.models.Sampling` states; a tuple, because a model costs four times as
    much."""

    u: float
    q: float
    salt_version: str
    on_panel: bool


def draw(salt: str, salt_version: str, workflow: str, item_id: str, rate: float) -> Draw:
    """The panel's draw. An item keeps its number for good, so a higher rate only adds items.

    The workflow is part of what is hashed, because an item is its workflow and its id: the same
    ids in two workflows are drawn independently. The prediction is not.
    """
    u = hash01(salt, workflow, item_id)
    return Draw(u, rate, salt_version, u < rate)
