"""Reads the audit panel from the event log: once, then only what is new.

The blocks of the ledger are committed one after another, and each knows between which `seq` its
events lie: whoever has read the blocks up to a height has missed no event, although two loggers
commit their `seq` out of order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from services.feedback.certificate.panel import SCORE_REASONS, Answer, PanelItem, resolution
from shared.storage.database import database_errors

# As in the index `event_panel` (migration 0010).
ON_PANEL = """
    type IN ('item.review_requested', 'item.reviewed')
    AND coalesce(data #>> '{routing,sampling,on_panel}',
                 data #>> '{decision,sampling,on_panel}') = 'true'
"""
_COLUMNS = """
    event.type, event.item_id, event.occurred_at,
    data #>> '{prediction,confidence}' AS score,
    data #>> '{prediction,label}' AS ai_label,
    data #>> '{prediction,model_version}' AS model_version,
    data ->> 'kind' AS kind,
    data #>> '{routing,would_accept}' AS would_accept,
    data #>> '{routing,blind}' AS blind,
    data #>> '{routing,sampling,u}' AS u,
    data #>> '{routing,certificate_version}' AS certificate_version,
    jsonb_path_query_array(data, '$.routing.reasons[*].code') AS reasons,
    data #>> '{decision,label}' AS label,
    data #>> '{review,revision}' AS revision,
    data #>> '{review,ai_label_shown}' AS shown,
    data #>> '{review,round}' AS round
"""
ALL = text(
    f"""
    SELECT {_COLUMNS} FROM event
    WHERE workflow = :workflow AND occurred_at >= :since AND {ON_PANEL}
    """  # noqa: S608 - put together from constants
)
_NEW = text(
    f"""
    SELECT {_COLUMNS} FROM event
    WHERE seq BETWEEN :first AND :last AND workflow = :workflow
      AND (type = 'item.erased' OR {ON_PANEL})
    """  # noqa: S608 - as above
)
_HEAD = text("SELECT height FROM ledger_block ORDER BY height DESC LIMIT 1")
_BLOCKS = text(
    "SELECT max(height), min(first_seq), max(last_seq) FROM ledger_block WHERE height > :height"
)
# Of all that is decided on: the same request may come with another draft. Erased texts have none.
# The digests never leave this process.
_TEXTS = text(
    """
    SELECT id, sha256(convert_to(concat_ws(chr(10), text, (asked - 'expires_at')::text), 'UTF8'))
    FROM item
    WHERE workflow = :workflow AND id = ANY(:ids) AND text IS NOT NULL AND erased_at IS NULL
    """
)
_LOGGED_UNTIL = text(
    """
    SELECT occurred_at FROM event
    WHERE type IN ('item.scored', 'item.accepted', 'item.review_requested', 'item.reviewed')
    ORDER BY seq DESC LIMIT 1
    """
)
_MAX_NEW = 100_000  # events between two looks; beyond that the index is quicker
_TEXTS_EACH = 10_000


@dataclass(frozen=True, slots=True)
class Reading:
    """The panel's items, in no order; `logged_until`: when the newest logged event occurred."""

    items: list[PanelItem]
    logged_until: datetime | None


class PanelLog:
    """The panel of one workflow. Not for several threads at once."""

    def __init__(self, engine: Engine, workflow: str) -> None:
        self._engine = engine
        self._workflow = workflow
        self._since: datetime | None = None
        self._height = -1
        self._asked: dict[str, PanelItem] = {}
        self._answers: dict[str, dict[int, Answer]] = {}
        self._digests: dict[str, bytes | None] = {}
        self._resolved: dict[str, PanelItem] = {}
        self._sla: timedelta | None = None

    def read(self, model_version: str, since: datetime, sla: timedelta) -> Reading:
        """The panel items of this model that were routed at `since` or later.

        Raises:
            Overloaded: Postgres is unreachable.
        """
        with database_errors(), self._engine.connect() as connection:
            if self._since is None or since < self._since or not self._read_new(connection):
                self._read_all(connection, since)
            self._forget_before(since)
            items = [
                item
                for item in self._asked.values()
                if item.model_version == model_version and item.routed_at >= since
            ]
            self._read_texts(connection, [item.item_id for item in items])
            logged_until = connection.scalar(_LOGGED_UNTIL)
        if sla != self._sla:
            self._resolved.clear()
            self._sla = sla
        for item in items:
            if item.item_id not in self._resolved:
                self._resolved[item.item_id] = self._resolve(item, sla)
        return Reading([self._resolved[item.item_id] for item in items], logged_until)

    def _read_all(self, connection: Connection, since: datetime) -> None:
        # The height first: what is committed meanwhile is read twice and not missed.
        self._height = connection.scalar(_HEAD) or 0
        self._asked.clear()
        self._answers.clear()
        self._digests.clear()
        self._resolved.clear()
        self._since = since
        self._take(connection.execute(ALL, {"workflow": self._workflow, "since": since}))

    def _read_new(self, connection: Connection) -> bool:
        """Whether it could be read by the blocks since the last look."""
        height, first, last = connection.execute(_BLOCKS, {"height": self._height}).one()
        if height is None:
            return True
        if last - first > _MAX_NEW:
            return False
        where = {"workflow": self._workflow, "first": first, "last": last}
        self._take(connection.execute(_NEW, where))
        self._height = height
        return True

    def _take(self, rows: Any) -> None:
        for row in rows:
            self._resolved.pop(row.item_id, None)
            if row.type == "item.review_requested":
                self._asked[row.item_id] = PanelItem(
                    item_id=row.item_id,
                    routed_at=row.occurred_at,
                    score=float(row.score),
                    would_accept=row.would_accept == "true",
                    eligible=row.blind == "true" and SCORE_REASONS.issuperset(row.reasons),
                    ai_label=row.ai_label,
                    model_version=row.model_version,
                    certificate_version=row.certificate_version,
                    u=float(row.u),
                    kind=row.kind,
                )
            elif row.type == "item.erased":
                self._digests[row.item_id] = None
            else:
                self._answers.setdefault(row.item_id, {})[int(row.revision)] = Answer(
                    revision=int(row.revision),
                    decided_at=row.occurred_at,
                    label=row.label,
                    shown=row.shown == "true",
                    settled=row.round == "adjudication",
                )

    def _forget_before(self, since: datetime) -> None:
        if self._since is None or since <= self._since:
            return
        old = [key for key, item in self._asked.items() if item.routed_at < since]
        for key in old:
            del self._asked[key]
            self._answers.pop(key, None)
            self._digests.pop(key, None)
            self._resolved.pop(key, None)
        self._since = since

    def _read_texts(self, connection: Connection, ids: Sequence[str]) -> None:
        unknown = [item_id for item_id in ids if item_id not in self._digests]
        for start in range(0, len(unknown), _TEXTS_EACH):
            some = unknown[start : start + _TEXTS_EACH]
            rows = connection.execute(_TEXTS, {"workflow": self._workflow, "ids": some})
            found = {item_id: bytes(digest) for item_id, digest in rows}
            self._digests |= {item_id: found.get(item_id) for item_id in some}

    def _resolve(self, item: PanelItem, sla: timedelta) -> PanelItem:
        answers = list(self._answers.get(item.item_id, {}).values())
        answer = resolution(answers, item.routed_at, sla)
        return replace(
            item,
            text_digest=self._digests.get(item.item_id),
            resolved_at=answer.decided_at if answer else None,
            label=answer.label if answer else None,
        )
