"""REST route that streams a whole table as one file."""

import threading
from collections.abc import AsyncIterator, Generator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import iterate_in_threadpool

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import ShortText, When, errors
from services.review_ui.reports import export
from services.review_ui.reports.export import MEDIA_TYPES, Export, What
from shared.formats.rows_out import Format

AT_ONCE = 3  # each holds a connection for as long as its reader takes


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter()
    places = threading.BoundedSemaphore(AT_ONCE)

    @api.get(
        "/export/{what}",
        tags=["export"],
        response_class=StreamingResponse,
        responses={
            200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}},
            **errors(404),
        },
    )
    def whole(
        what: What,
        account: Here,
        format: Annotated[Format, Query()] = "jsonl",
        workflow: Annotated[ShortText | None, Query(description="unset: all")] = None,
        since: When = None,
        until: When = None,
    ) -> StreamingResponse:
        """All rows as a stream: CSV, JSON Lines or Parquet. In CSV a text that a spreadsheet would
        take for a formula has an apostrophe in front; the others are exact. `corrections` are the
        items whose label that stands is not the AI's, with the text; `decisions` is everything that
        reviewers did, answers that were overruled or taken back too."""
        wanted = Export(what, context.chosen(workflow, account), since, until)
        if not places.acquire(blocking=False):
            text = f"{AT_ONCE} exports are running already; try again shortly."
            raise ApiError(503, "exports_busy", text, {"Retry-After": "10"})
        body = _chunks(export.rows(context.engine, wanted, format), places)
        return StreamingResponse(
            body,
            media_type=MEDIA_TYPES[format],
            headers={"Content-Disposition": f'attachment; filename="{what}.{format}"'},
        )

    return api


async def _chunks(
    rows: Generator[bytes], places: threading.BoundedSemaphore
) -> AsyncIterator[bytes]:
    """The same bytes; a reader who goes away frees the connection and the place."""
    try:
        async for chunk in iterate_in_threadpool(rows):
            yield chunk
    finally:
        rows.close()
        places.release()
