"""The labels of the audit panel that count by now, in their order. Pure.

In the order of the routing decisions, up to the first item that still waits for its label: an error
takes people longer, and labels in the order of their arrival would hide the errors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from services.feedback.certificate.certify import Bools, Floats
from shared.answers.base import same_brief

# What may speak for a person without keeping the item from ever being accepted by its score.
SCORE_REASONS = frozenset({"panel", "below_threshold", "not_certified"})
# The logger is this far behind at most while it runs: two of them commit out of order.
LOG_MARGIN = timedelta(seconds=10)
# In a quiet hour nothing tells that the logger is alive. What it writes later than this still
# counts, in its place.
LOG_PATIENCE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PanelItem:
    """An item of the panel, and the label that people gave it (of another `kind` of answer, its
    short line in the log).

    `score` is the confidence, `would_accept` whether it reached the live threshold, `eligible`
    whether the score alone could ever have had it accepted. `resolved_at` and `label` are of the
    last answer within the SLA, else of the first late one, else None. `text_digest` is None once
    the text has been erased; `u` is the item's number in the panel's draw.
    """

    item_id: str
    routed_at: datetime
    score: float
    would_accept: bool
    eligible: bool
    ai_label: str
    model_version: str
    certificate_version: str | None = None
    text_digest: bytes | None = None
    resolved_at: datetime | None = None
    label: str | None = None
    u: float = 0.0
    kind: str | None = None

    @property
    def right(self) -> bool:
        """Whether people gave the very answer of the machine."""
        return self.label is not None and same_brief(self.kind, self.label, self.ai_label)


@dataclass(frozen=True, slots=True)
class Matured:
    """The items that count, in the order of their routing, and whether the AI was wrong. `watched`
    are those that the drift monitor counts: erased ones that were right, too, because without them
    it would see errors only, and raise the alarm.

    `watermark`: every item routed before it is resolved or overdue (None: no item at all).
    `overdue`: how many of the errors are items that nobody resolved in time. `waiting`: how many
    eligible items wait for a label, counted or held back by the watermark; `held`: how many are
    resolved and wait only for earlier ones. `duplicates` and `erased` were left out; `wrong_copies`
    are the duplicates of texts that the AI got wrong.
    """

    items: tuple[PanelItem, ...]
    errors: Bools
    watched: tuple[tuple[PanelItem, bool], ...]
    watermark: datetime | None
    overdue: int
    waiting: int
    held: int
    duplicates: int
    wrong_copies: int
    erased: int

    @property
    def scores(self) -> Floats:
        """The items' scores [n]."""
        return np.array([item.score for item in self.items], dtype=np.float64)

    @property
    def accepted_errors(self) -> list[bool]:
        """Of the items that reached the live threshold: was the AI wrong? For the drift monitor."""
        return [wrong for item, wrong in self.watched if item.would_accept]


def mature(
    items: Iterable[PanelItem],
    now: datetime,
    sla: timedelta,
    logged_until: datetime | None = None,
) -> Matured:
    """The labels that count at `now`; a pure function of the rows, whenever it is asked.

    - A batch is routed at one moment: its items count in the order of their `u`, which knows
      nothing of them. An id may tell whence an item comes, and so how likely an error is.
    - Overdue (not resolved within `sla` of its routing) is an error for ever.
    - Of items with the same text the first counts.
    - An erased text could be a copy of another: it counts if it is an error; if it is right, for
      the monitor only.
    - Nothing counts that was routed after `logged_until`, the newest event in the log, less a
      margin (None: `now` less the margin): the logger may not have written its neighbours yet.
    """
    horizon = _horizon(now, logged_until)
    ordered = sorted(
        (item for item in items if item.eligible),
        key=lambda item: (item.routed_at, item.u, item.item_id),
    )
    counted: list[PanelItem] = []
    errors: list[bool] = []
    watched: list[tuple[PanelItem, bool]] = []
    texts: dict[bytes, bool] = {}
    overdue = waiting = held = duplicates = wrong_copies = erased = 0
    stopped: datetime | None = None
    for item in ordered:
        resolved = item.resolved_at is not None and item.label is not None
        late = (item.resolved_at if resolved and item.resolved_at else now) > item.routed_at + sla
        if not resolved and not late:
            waiting += 1
        if stopped is None and item.routed_at > horizon:
            stopped = horizon
        if stopped is not None:
            held += resolved or late
            continue
        if item.text_digest is not None and item.text_digest in texts:
            duplicates += 1
            wrong_copies += texts[item.text_digest]
            continue
        if not resolved and not late:
            stopped = item.routed_at
            continue
        wrong = late or not item.right
        watched.append((item, wrong))
        if item.text_digest is not None:
            texts[item.text_digest] = wrong
        elif not wrong:
            erased += 1
            continue
        overdue += late
        counted.append(item)
        errors.append(wrong)
    return Matured(
        items=tuple(counted),
        errors=np.array(errors, dtype=np.bool_),
        watched=tuple(watched),
        watermark=(stopped or horizon) if ordered else None,
        overdue=overdue,
        waiting=waiting,
        held=held,
        duplicates=duplicates,
        wrong_copies=wrong_copies,
        erased=erased,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """A label that people gave to an item. `shown`: its author saw the AI's label."""

    revision: int
    decided_at: datetime
    label: str
    shown: bool
    settled: bool


def resolution(answers: Sequence[Answer], routed_at: datetime, sla: timedelta) -> Answer | None:
    """The answer that counts: the last revision within the SLA, else the first late one.

    An answer of somebody who saw the AI's label counts only where they settled a disagreement: an
    audit is blind.
    """
    valid = [answer for answer in answers if answer.settled or not answer.shown]
    in_time = [answer for answer in valid if answer.decided_at <= routed_at + sla]
    if in_time:
        return max(in_time, key=lambda answer: answer.revision)
    return min(valid, key=lambda answer: answer.decided_at, default=None)


def _horizon(now: datetime, logged_until: datetime | None) -> datetime:
    if logged_until is None:
        return now - LOG_MARGIN
    return min(max(logged_until - LOG_MARGIN, now - LOG_PATIENCE), now - LOG_MARGIN)
