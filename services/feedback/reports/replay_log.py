"""Streams the items that the router decided in a time, and what people said of them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, text

from services.feedback.reports.replay import PastItem
from shared.answers.approval import approved
from shared.answers.base import same_brief
from shared.answers.reading import parsed
from shared.events.answered import AnswerItem, AnswerPrediction
from shared.events.models import Item, Prediction
from shared.formats.rows_out import BATCH_ROWS
from shared.storage.database import database_errors

# The last answer of each item, whenever it came; of two routes of an item the earlier.
_HISTORY = text(
    """
    SELECT routed.item_id, routed.type, routed.occurred_at,
           routed.data -> 'prediction' AS prediction,
           coalesce(routed.data #> '{routing,sampling}',
                    routed.data #> '{decision,sampling}') AS sampling,
           jsonb_path_query_array(routed.data, '$.*.reasons[*].code') AS codes,
           routed.data #>> '{routing,would_accept}' AS would_accept,
           routed.data ->> 'kind' AS kind,
           item.text, item.metadata, item.received_at, item.asked, item.ai_answer,
           item.answer AS final,
           item.erased_at IS NOT NULL OR item.text IS NULL AS erased,
           answer.label, answer.shown, answer.round, answer.seconds
    FROM event routed
    LEFT JOIN item ON item.workflow = routed.workflow AND item.id = routed.item_id
    LEFT JOIN LATERAL (
        SELECT data #>> '{decision,label}' AS label, data #>> '{review,round}' AS round,
               (data #>> '{review,ai_label_shown}')::boolean AS shown,
               (data #>> '{review,seconds}')::float8 AS seconds
        FROM event
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


def history(engine: Engine, workflow: str, since: datetime, until: datetime) -> Iterator[PastItem]:
    """The items that were routed in that time, in that order, each once.

    Raises:
        Overloaded: the connection to the database was lost.
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
    sampling: dict[str, Any] = row.sampling or {}
    accepted = row.type == "item.accepted"
    by_panel = not accepted and row.codes == ["panel"]
    item, prediction = _item(row), _prediction(row)
    return PastItem(
        item=item,
        prediction=prediction,
        routed_at=row.occurred_at,
        accepted=accepted,
        by_panel=by_panel,
        sure="confident" in row.codes if accepted else row.would_accept == "true",
        probability=float(sampling.get("q", 0.0)) if accepted or by_panel else 1.0,
        u=sampling.get("u"),
        erased=row.erased,
        lost=prediction is None and row.prediction is not None,
        corrected=_corrected(row, item),
        shown=bool(row.shown) and row.round != "adjudication",
        seconds=row.seconds,
    )


def _item(row: Any) -> Item:
    known = {
        "id": row.item_id,
        "text": row.text or "[erased]",
        "metadata": row.metadata or {},
        "received_at": row.received_at or row.occurred_at,
    }
    if row.kind is None:
        return Item.model_validate(known)
    return AnswerItem.model_validate({**known, **(row.asked or {})})


def _prediction(row: Any) -> Prediction | AnswerPrediction | None:
    """What was predicted; of an answer that may quote a person the log has it not, the item's row
    does until it is erased."""
    given = row.prediction
    if given is None or row.kind is None:
        return given and Prediction.model_validate(given)
    answer = given.get("answer") or row.ai_answer
    return AnswerPrediction.model_validate({**given, "answer": answer}) if answer else None


def _corrected(row: Any, item: Item) -> bool | None:
    """Whether people gave another answer than the machine's. Of an action that nobody predicted
    anything about, than the only one that a machine could give: a yes to it as it stands."""
    if row.label is None:
        return None
    if row.prediction is not None:
        return not same_brief(row.kind, row.label, row.prediction["label"])
    action = item.action if isinstance(item, AnswerItem) else None
    if action is None or row.final is None:
        return None
    return parsed("approval", row.final) != approved(action)
