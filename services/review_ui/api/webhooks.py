"""REST routes of webhooks, for admins: create, test, switch on and off, retry, remove."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.review_ui.api.access import Here
from services.review_ui.api.context import RequestContext
from services.review_ui.api.errors import ApiError
from services.review_ui.api.schemas import Asked, Cursor, Limit, Listed, ShortText, errors
from services.review_ui.reports.lists import BadCursor
from services.review_ui.webhooks import store as webhook_store
from services.review_ui.webhooks.post import MAX_URL_CHARACTERS, BadAddress, checked_url
from services.review_ui.webhooks.store import TYPES, EventType, NoWebhook, State
from shared.storage.tables import Webhook, WebhookDelivery

DeliveryId = Annotated[int, Field(ge=0, le=2**63 - 1)]


class NewWebhook(Asked):
    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARACTERS)]
    workflow: ShortText | None = Field(default=None, description="unset: all")
    types: list[EventType] = Field(default=list(TYPES), min_length=1)


class Switch(Asked):
    active: bool


class WebhookView(BaseModel):
    """Without its secret, which is shown only once."""

    id: UUID
    url: str
    workflow: str | None
    types: list[str]
    active: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime


class WebhookStanding(WebhookView):
    waiting: int = Field(description="deliveries that are to be sent, again or for the first time")
    failed: int = Field(description="deliveries given up; see retry")
    last_error: str | None = Field(description="of the newest attempt among these that failed")
    last_error_at: datetime | None


class WebhookList(BaseModel):
    webhooks: list[WebhookStanding] = Field(description="the oldest first")


class WebhookSecret(BaseModel):
    webhook: WebhookView
    secret: str = Field(description="shown this once; what verifies the signatures")


class DeliveryView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    webhook_id: UUID
    event_id: UUID = Field(description="sent as webhook-id, the same at every attempt")
    type: str
    attempts: int
    not_before: datetime
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    last_status: int | None = Field(description="of HTTP; null: no answer")
    last_error: str | None
    delivered_at: datetime | None
    failed_at: datetime | None


class DeliveryList(Listed):
    deliveries: list[DeliveryView] = Field(description="the newest first")


class Retried(BaseModel):
    retried: int


def routes(context: RequestContext) -> APIRouter:
    api = APIRouter(tags=["webhooks"])

    @api.get("/webhooks")
    def everything(account: Here) -> WebhookList:
        """All webhooks, and how their deliveries stand."""
        with context.transaction() as session:
            return WebhookList(
                webhooks=[
                    WebhookStanding(
                        **_view(each.webhook).model_dump(),
                        waiting=each.waiting,
                        failed=each.failed,
                        last_error=each.last_error,
                        last_error_at=each.last_error_at,
                    )
                    for each in webhook_store.everything(session)
                ]
            )

    @api.post("/webhooks", status_code=201, responses=errors(404))
    def create(new: NewWebhook, account: Here) -> WebhookSecret:
        """Sends decisions there from now on, signed with the secret in this answer."""
        try:
            checked_url(new.url, private=context.webhook_private)
        except BadAddress as error:
            raise ApiError(422, "bad_address", f"{error}.") from None
        workflow = None if new.workflow is None else context.known_workflow(new.workflow, account)
        with context.transaction() as session:
            row = webhook_store.create(session, new.url, workflow, new.types, context.clock())
            return WebhookSecret(webhook=_view(row), secret=row.secret)

    @api.patch("/webhooks/{webhook_id}", responses=errors(404))
    def switch(webhook_id: UUID, wanted: Switch, account: Here) -> WebhookView:
        """Off: nothing is sent, what waits keeps waiting, new events are left out."""
        with context.transaction() as session:
            why = f"switched off by {account.name}"
            return _view(
                webhook_store.switch(
                    session, webhook_id, active=wanted.active, why=why, now=context.clock()
                )
            )

    @api.delete("/webhooks/{webhook_id}", status_code=204, responses=errors(404))
    def remove(webhook_id: UUID, account: Here) -> Response:
        """The webhook is gone, with all that waited for it."""
        with context.transaction() as session:
            webhook_store.remove(session, webhook_id)
        return Response(status_code=204)

    @api.post("/webhooks/{webhook_id}/rotate", responses=errors(404))
    def rotate(webhook_id: UUID, account: Here) -> WebhookSecret:
        """A new secret. For 24 hours the previous one signs too."""
        with context.transaction() as session:
            row = webhook_store.rotate(session, webhook_id, context.clock())
            return WebhookSecret(webhook=_view(row), secret=row.secret)

    @api.post("/webhooks/{webhook_id}/test", status_code=202, responses=errors(404))
    def test(webhook_id: UUID, account: Here) -> DeliveryView:
        """Sends an event of type `webhook.test`; look among the deliveries what became of it."""
        with context.transaction() as session:
            row = webhook_store.add_test(session, webhook_id, context.clock())
            return DeliveryView.model_validate(row)

    @api.post("/webhooks/{webhook_id}/retry", responses=errors(404))
    def retry_all(webhook_id: UUID, account: Here) -> Retried:
        """Everything that has failed there is due again, with all its attempts."""
        with context.transaction() as session:
            webhook_store.locked(session, webhook_id)
            which = WebhookDelivery.webhook_id == webhook_id
            return Retried(retried=webhook_store.retry(session, which, context.clock()))

    @api.get("/webhooks/deliveries")
    def deliveries(
        account: Here,
        webhook_id: Annotated[UUID | None, Query(description="unset: all")] = None,
        state: Annotated[State | None, Query(description="unset: all")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> DeliveryList:
        """What is on its way, was delivered, or has failed."""
        with context.transaction() as session:
            rows = webhook_store.deliveries(
                session, webhook_id=webhook_id, state=state, before=_place(cursor), limit=limit
            )
        return DeliveryList(
            deliveries=[DeliveryView.model_validate(row) for row in rows],
            next_cursor=str(rows[-1].id) if len(rows) == limit else None,
        )

    @api.post("/webhooks/deliveries/{delivery_id}/retry", responses=errors(404))
    def retry_one(delivery_id: DeliveryId, account: Here) -> Retried:
        """This delivery, which has failed, is due again."""
        with context.transaction() as session:
            retried = webhook_store.retry(
                session, WebhookDelivery.id == delivery_id, context.clock()
            )
            if not retried:
                raise NoWebhook("There is no failed delivery with this id.")
            return Retried(retried=retried)

    return api


def _place(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise BadCursor("This cursor is not from this list; start again without one.")
    return int(cursor)


def _view(row: Webhook) -> WebhookView:
    return WebhookView(
        id=row.id,
        url=row.url,
        workflow=row.workflow,
        types=row.types,
        active=row.disabled_at is None,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
        created_at=row.created_at,
    )
