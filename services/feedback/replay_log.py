"""Which items did the router decide in a time, and what did people say of them? Streamed."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from services.feedback.replay import PastItem
from shared.database import database_errors
from shared.events import Item, Prediction
from shared.rows import BATCH_ROWS

# The last answer of each item, whenever it came; of two routes of an item the earlier.
_HISTORY = text(
    """
    SELECT routed.item_id, routed.type, routed.occurred_at,
           routed.data -> 'prediction' AS prediction,
           coalesce(routed.data -> 'routing', routed.data -> 'decision') AS decided,
           item.text, item.metadata, item.received_at,
           item.erased_at IS NOT NULL OR item.text IS NULL AS erased,
           answer.data AS answer
    FROM event routed
    LEFT JOIN item ON item.workflow = routed.workflow AND item.id = routed.item_id
    LEFT JOIN LATERAL (
        SELECT data FROM event
        WHERE routed.type = 'item.review_requested' AND type = 'item.reviewed'
          AND workflow = routed.workflow AND item_id = routed.item_id
        ORDER BY (data #>> '{review,revision}')::int DESC LIMIT 1
    ) answer ON true
    WHERE routed.workflow = :workflow
      AND routed.type IN ('item.accepted', 'item.review_requested')
      AND routed.occurred_at >= :since AND routed.occurred_at < :until
    ORDER BY routed.occurred_at, routed.seq
    """
)
_ONLY_THE_PANEL = {"panel"}


def history(engine: Engine, workflow: str, since: datetime, until: datetime) -> Iterator[PastItem]:
    """The items that were routed in that time, in that order, each once.

    Raises:
        Overloaded: the database went away.
    """
    asked = {"workflow": workflow, "since": since, "until": until}
    seen: set[str] = set()
    with database_errors(), engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # as long as the log is
        rows = connection.execute(
            _HISTORY,
            asked,
            execution_options={"stream_results": True, "max_row_buffer": BATCH_ROWS},
        )
        for row in rows:
            if row.item_id not in seen:
                seen.add(row.item_id)
                yield _past(row)


def _past(row: Any) -> PastItem:
    decided: dict[str, Any] = row.decided
    sampling = decided.get("sampling") or {}
    codes = {reason["code"] for reason in decided["reasons"]}
    accepted = row.type == "item.accepted"
    by_panel = not accepted and codes == _ONLY_THE_PANEL
    answer: dict[str, Any] = row.answer or {}
    review = answer.get("review") or {}
    return PastItem(
        item=Item(
            id=row.item_id,
            text=row.text or "[erased]",
            metadata=row.metadata or {},
            received_at=row.received_at or row.occurred_at,
        ),
        prediction=Prediction.model_validate(row.prediction),
        routed_at=row.occurred_at,
        accepted=accepted,
        by_panel=by_panel,
        sure="confident" in codes if accepted else bool(decided.get("would_accept")),
        probability=float(sampling.get("q", 0.0)) if accepted or by_panel else 1.0,
        u=sampling.get("u"),
        erased=row.erased,
        label=answer["decision"]["label"] if answer else None,
        shown=bool(review.get("ai_label_shown")) and review.get("round") != "adjudication",
        seconds=review.get("seconds"),
    )
