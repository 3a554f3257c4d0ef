"""What people have decided, and which of it a model may learn from.

A fifth of all items is held out for ever, by a hash of the item's id: no version is ever trained on
it, so that every two versions can be compared on it. Of the rest a part is for calibration only.
"""

from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from typing import NamedTuple, get_args
from uuid import UUID

from sqlalchemy import Engine, text

from services.feedback.certificate.panel import SCORE_REASONS
from services.router.route import ReasonCode
from shared.answers.base import Answer, Kind
from shared.answers.label import LabelAnswer
from shared.answers.reading import parsed
from shared.hashing import place01
from shared.labels import label_key
from shared.storage.database import database_errors

# Another salt is another hold-out, and what is held out then has been trained on: never change it.
_HELD_OUT_SALT = "hitl-held-out-1"
_CALIBRATION_SALT = "hitl-calibration-1"
HELD_OUT_SHARE = 0.2
CALIBRATION_SHARE = 0.15  # of the rest
# Of more decisions the newest: they are all in memory, and each that is held out is scored twice.
MAX_HELD_OUT = 10_000
MAX_OTHERS = 40_000
_ROWS = 500
# What sends an item to people whether or not it is on the panel and the model is sure.
_ANYWAY = sorted(set(get_args(ReasonCode)) - SCORE_REASONS - {"confident"})

# Erased texts are gone from `item`, too; the condition says why they are not here.
_REVIEWED = text("""
    SELECT i.id, i.text, i.final_label, i.answer, i.confidence, e.event_id,
           coalesce((e.data #>> '{decision,sampling,on_panel}')::boolean, false) AS on_panel,
           (e.data #>> '{decision,sampling,q}')::float8 AS panel_rate,
           jsonb_path_query_array(e.data, '$.decision.reasons[*].code') ?| :anyway AS anyway,
           (e.data #>> '{decision,threshold}')::float8 AS threshold
    FROM item i
    CROSS JOIN LATERAL (
        SELECT event_id, data FROM event
        WHERE workflow = i.workflow AND item_id = i.id AND type = 'item.reviewed'
        ORDER BY (data #>> '{review,revision}')::bigint DESC LIMIT 1
    ) e
    WHERE i.workflow = :workflow AND i.status IN ('HUMAN_ACCEPTED', 'HUMAN_CORRECTED')
      AND i.erased_at IS NULL AND i.text IS NOT NULL AND i.final_label IS NOT NULL
      AND coalesce(i.kind, 'label') = :kind
    ORDER BY i.reviewed_at DESC, i.id
""")


class Reviewed(NamedTuple):
    """An item that a person decided: its last decision, and the event that says so. `label` is the
    answer in short, and all there is of an answer that is one label."""

    item_id: str
    text: str
    label: str
    event_id: UUID
    weight: float = 1.0  # for how many items it stands
    given: Answer | None = None

    @property
    def answer(self) -> Answer:
        """What the person said."""
        return self.given or LabelAnswer(label=self.label)


class Parts(NamedTuple):
    """Disjoint parts of what was reviewed, no text in two of them; each newest first.

    `left_out` counts the items with a label that the model does not have (`unknown_label`), whose
    text is in another part or was held out after it had been trained on (`repeated_text`), and
    those beyond the newest (`older`). `taught`: the text keys of what an earlier version was
    trained on.
    """

    train: list[Reviewed]
    calibration: list[Reviewed]
    held_out: list[Reviewed]
    left_out: dict[str, int]
    taught: frozenset[str]


def reviewed(engine: Engine, workflow: str, kind: Kind = "label") -> Iterator[Reviewed]:
    """All items of the workflow that people decided, newest first, as they come from the database.
    What was answered otherwise, before the workflow asked for this kind, is not among them.

    Raises:
        Overloaded: the database is unreachable.
    """
    with database_errors(), engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # a million are sorted first
        found = connection.execute(
            _REVIEWED,
            {"workflow": workflow, "kind": kind, "anyway": _ANYWAY},
            execution_options={"stream_results": True, "max_row_buffer": _ROWS},
        )
        for row in found:
            yield Reviewed(
                item_id=row.id,
                text=row.text,
                label=row.final_label,
                event_id=row.event_id,
                weight=weight(
                    row.confidence, row.threshold, row.on_panel and not row.anyway, row.panel_rate
                ),
                given=None if kind == "label" else parsed(kind, row.answer),
            )


def weight(
    confidence: float | None, threshold: float | None, by_panel: bool, panel_rate: float | None
) -> float:
    """One over the probability that a person decided the item. What is under the threshold always
    goes to people; what is above, only where the panel was drawn. `by_panel`: it is on the panel,
    and no rule, label or length would have sent it anyway."""
    confident = confidence is not None and threshold is not None and confidence >= threshold
    if not (confident and by_panel and panel_rate):
        return 1.0
    return 1 / panel_rate


def is_held_out(item_id: str) -> bool:
    """Whether no version may ever be trained on this item."""
    return place01(_HELD_OUT_SALT, item_id) < HELD_OUT_SHARE


def is_for_calibration(item_id: str) -> bool:
    """Whether an item that is not held out serves the temperature and not the weights."""
    return place01(_CALIBRATION_SALT, item_id) < CALIBRATION_SHARE


def text_key(text: str) -> str:
    """What two texts share that differ in case and spaces only."""
    return sha256(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass")).hexdigest()


def divide(items: Iterable[Reviewed], labels: Collection[str], taught: Collection[str]) -> Parts:
    """Who learns, who calibrates, who judges. `taught` are the ids of items that an earlier
    version, or this one before it was interrupted, was trained on; a text like theirs can no longer
    judge or calibrate."""
    known = {label_key(label) for label in labels}
    judging: list[Reviewed] = []
    others: list[Reviewed] = []
    seen: set[str] = set()
    unknown = older = 0
    for item in items:
        if item.item_id in taught:
            seen.add(text_key(item.text))
        held = is_held_out(item.item_id)
        if not known.issuperset(map(label_key, item.answer.names)):
            unknown += 1
        elif len(judging if held else others) < (MAX_HELD_OUT if held else MAX_OTHERS):
            (judging if held else others).append(item)
        else:
            older += 1
    held_out = _once(judging, seen)
    judged = {text_key(i.text) for i in held_out}
    rest = [i for i in others if text_key(i.text) not in judged]
    calibration = _once([i for i in rest if is_for_calibration(i.item_id)], seen)
    measured = {text_key(i.text) for i in calibration}
    train = [
        i for i in rest if not is_for_calibration(i.item_id) and text_key(i.text) not in measured
    ]
    repeated = len(judging) + len(others) - len(train) - len(calibration) - len(held_out)
    left_out = {"unknown_label": unknown, "repeated_text": repeated, "older": older}
    return Parts(train, calibration, held_out, left_out, frozenset(seen))


def _once(items: Iterable[Reviewed], without: Collection[str]) -> list[Reviewed]:
    """The first of each text, none of those texts."""
    first: dict[str, Reviewed] = {}
    for item in items:
        first.setdefault(text_key(item.text), item)
    return [item for key, item in first.items() if key not in without]
