"""REST routes of items: submit them, list them, look one up."""

import logging
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import (
    Cursor,
    ItemList,
    Limit,
    NewItems,
    ShortText,
    When,
    errors,
)
from services.review_ui.api.submit import Submitted, edits, submit
from services.review_ui.reports import lists
from services.review_ui.reports.items import ItemView, look_up, summary
from services.review_ui.reports.lists import ItemFilter, ItemStatus, Page, Period
from shared.errors import Overloaded
from shared.events.models import Item
from shared.labels import spellings
from shared.messages import Outgoing

logger = logging.getLogger(__name__)


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()

    @api.get("/items", tags=["items"], responses=errors(404))
    def listed(
        account: Here,
        workflow: Annotated[ShortText | None, Query(description="unset: all")] = None,
        status: Annotated[ItemStatus | None, Query()] = None,
        label: Annotated[
            ShortText | None,
            Query(description="the final one, else the AI's; of several labels or spans one"),
        ] = None,
        min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
        max_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
        q: Annotated[ShortText | None, Query(description="part of the text or the id")] = None,
        since: When = None,
        until: When = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> ItemList:
        """Items, the newest received first. `q` reads the texts one by one: with many items, give
        a period as well; a search of more than ten seconds is refused."""
        wanted = ItemFilter(
            workflows=context.chosen(workflow, account),
            status=status,
            labels=None if label is None else spellings(label, context.known_labels(workflow)),
            min_confidence=min_confidence,
            max_confidence=max_confidence,
            search=q,
            received=Period(since, until),
        )
        with context.transaction() as session:
            found, following = lists.items(session, account, wanted, Page(limit, cursor))
        return ItemList(
            items=[summary(row, hidden) for row, hidden in found], next_cursor=following
        )

    @api.get("/items/{workflow}/{item_id:path}", tags=["items"])
    def item(workflow: str, item_id: str, account: Here) -> ItemView:
        """An item and every event recorded about it."""
        context.known_workflow(workflow, account)
        found = None
        if "\0" not in item_id:
            with context.transaction() as session:
                found = look_up(session, account, workflow, item_id, context.clock())
        if found is None:
            raise ApiError(404, "no_such_item", "Nothing is recorded about this item (yet).")
        return found

    @api.post(
        "/items",
        status_code=202,
        tags=["items"],
        response_model=Submitted,
        responses=errors(404),
    )
    def send(
        given: NewItems,
        account: Here,
        idempotency_key: Annotated[
            ShortText | None, Header(description="the same again: the same request again")
        ] = None,
    ) -> Submitted | JSONResponse:
        """Submits items to a workflow: those accepted lie safe in the broker when this answers, and
        are decided later. Each is judged by itself; give ids, or one `Idempotency-Key` to each
        request, then sending again is safe. An id whose text changed is refused as `edited`. Where
        items may bring predictions, a request of which nothing is accepted is answered with 422
        `nothing_accepted`, and with `refused` as well."""
        workflow = context.known_workflow(given.workflow, account)

        def edited(items: Sequence[tuple[str, Item]]) -> set[int]:
            with context.transaction() as session:
                return edits(session, items)

        spec = context.spec(workflow)
        sent = submit(
            given.items,
            workflow=workflow,
            spec=spec,
            edited=edited,
            publish=publish,
            clock=context.clock,
            max_body_bytes=context.max_body_bytes,
            once=(account.name, idempotency_key) if idempotency_key else None,
        )
        if sent.accepted or spec.plain:
            return sent
        why = f"Nothing was accepted. Item 0: {sent.refused[0].message}"
        error = {"code": "nothing_accepted", "message": why}
        return JSONResponse({"error": error, **sent.model_dump()}, 422)

    def publish(messages: Sequence[Outgoing], seconds: float) -> None:
        try:
            context.publish(messages, seconds)
        except Overloaded as error:
            logger.warning("items not confirmed by the broker", extra={"problem": str(error)})
            text = (
                "The broker did not confirm; some items may have arrived. Send all again, with ids"
                " or the same key."
            )
            raise ApiError(503, "broker_away", text, {"Retry-After": "5"}) from None

    return api
