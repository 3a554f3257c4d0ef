"""Webhooks and their deliveries: who wants to hear of decisions, and what is to be sent.

A delivery is written in the transaction of the decision, one for each webhook that wants the event;
its id is the event's own, over all attempts. sender.py sends what is due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Engine, delete, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, defer

from services.review_ui.webhooks.sign import new_secret
from shared.errors import HitlError
from shared.events.models import Event
from shared.storage.tables import Webhook, WebhookDelivery

EventType = Literal["item.reviewed"]
TYPES: tuple[EventType, ...] = get_args(EventType)
TEST = "webhook.test"
OVERLAP = timedelta(hours=24)  # for which the secret before a rotation still signs

State = Literal["waiting", "failed", "delivered"]
_IN: dict[State, ColumnElement[bool]] = {
    "waiting": WebhookDelivery.next_attempt_at.is_not(None),
    "failed": WebhookDelivery.failed_at.is_not(None),
    "delivered": WebhookDelivery.delivered_at.is_not(None),
}


class NoWebhook(HitlError):
    """There is no such webhook, or no such delivery that could be retried."""


@dataclass(frozen=True, slots=True)
class WebhookBacklog:
    """A webhook, and what it has not received."""

    webhook: Webhook
    waiting: int
    failed: int
    last_error: str | None
    last_error_at: datetime | None


def enqueue(session: Session, event: Event, not_before: datetime) -> None:
    """Adds the deliveries of `event` to the session's transaction, to be sent from `not_before`."""
    wanted = select(
        Webhook.id,
        literal(event.event_id),
        literal(event.type),
        literal(_body(event.type, event.occurred_at, event.model_dump_json())),
        literal(not_before),
        literal(not_before),
    ).where(
        Webhook.disabled_at.is_(None),
        or_(Webhook.workflow.is_(None), Webhook.workflow == event.workflow),
        Webhook.types.contains([event.type]),
    )
    # The lock: one that is being removed just now is waited for, then left out.
    names = ["webhook_id", "event_id", "type", "body", "not_before", "next_attempt_at"]
    locked = wanted.with_for_update(key_share=True, read=True)
    session.execute(insert(WebhookDelivery).from_select(names, locked))


def withdraw(session: Session, event: Event) -> None:
    """Takes back what `enqueue` added. Only where `outbox.withdraw` has found it not too late."""
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.event_id == event.event_id))


def create(
    session: Session, url: str, workflow: str | None, types: Sequence[str], now: datetime
) -> Webhook:
    """A new webhook; its secret is to be shown once."""
    row = Webhook(
        id=uuid4(),
        url=url,
        workflow=workflow,
        types=sorted(set(types)),
        secret=new_secret(),
        created_at=now,
    )
    session.add(row)
    return row


def rotate(session: Session, webhook_id: UUID, now: datetime) -> Webhook:
    """A new secret; the one before signs as well for `OVERLAP`.

    Raises:
        NoWebhook: there is none of this id.
    """
    row = locked(session, webhook_id)
    row.previous_secret, row.previous_until = row.secret, now + OVERLAP
    row.secret = new_secret()
    return row


def remove(session: Session, webhook_id: UUID) -> None:
    """The webhook and all its deliveries are gone."""
    session.delete(locked(session, webhook_id))


def switch(session: Session, webhook_id: UUID, *, active: bool, why: str, now: datetime) -> Webhook:
    """On or off. While it is off nothing is sent, and no delivery written for new events."""
    row = locked(session, webhook_id)
    if active:
        row.disabled_at = row.disabled_reason = None
    elif row.disabled_at is None:
        row.disabled_at, row.disabled_reason = now, why
    return row


def locked(session: Session, webhook_id: UUID) -> Webhook:
    """The webhook, held until the end of the transaction.

    Raises:
        NoWebhook: there is none of this id.
    """
    row = session.get(Webhook, webhook_id, with_for_update=True)
    if row is None:
        raise NoWebhook("There is no such webhook.")
    return row


def add_test(session: Session, webhook_id: UUID, now: datetime) -> WebhookDelivery:
    """A delivery of its own kind, to try the way: type `webhook.test`, due at once."""
    row = WebhookDelivery(
        webhook_id=locked(session, webhook_id).id,
        event_id=uuid4(),
        type=TEST,
        body=_body(TEST, now, f'{{"webhook_id":"{webhook_id}"}}'),
        not_before=now,
        next_attempt_at=now,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def everything(session: Session) -> list[WebhookBacklog]:
    """All webhooks, the oldest first."""
    delivery = WebhookDelivery
    open_ = or_(_IN["waiting"], _IN["failed"])  # both read from an index, whatever was delivered
    counted = (
        select(
            delivery.webhook_id,
            func.count().filter(_IN["waiting"]).label("waiting"),
            func.count().filter(_IN["failed"]).label("failed"),
        )
        .where(open_)
        .group_by(delivery.webhook_id)
        .subquery()
    )
    latest = (
        select(delivery.webhook_id, delivery.last_error, delivery.last_attempt_at)
        .where(open_, delivery.last_error.is_not(None))
        .ext(distinct_on(delivery.webhook_id))
        .order_by(delivery.webhook_id, delivery.last_attempt_at.desc())
        .subquery()
    )
    statement = (
        select(
            Webhook,
            func.coalesce(counted.c.waiting, 0),
            func.coalesce(counted.c.failed, 0),
            latest.c.last_error,
            latest.c.last_attempt_at,
        )
        .outerjoin(counted, counted.c.webhook_id == Webhook.id)
        .outerjoin(latest, latest.c.webhook_id == Webhook.id)
        .order_by(Webhook.created_at, Webhook.id)
    )
    return [WebhookBacklog(*row) for row in session.execute(statement)]


def deliveries(
    session: Session,
    *,
    webhook_id: UUID | None,
    state: State | None,
    before: int | None,
    limit: int,
) -> Sequence[WebhookDelivery]:
    """The newest deliveries first, without their bodies; those with an id below `before`."""
    statement = (
        select(WebhookDelivery)
        .options(defer(WebhookDelivery.body, raiseload=True))
        .order_by(WebhookDelivery.id.desc())
        .limit(limit)
    )
    if webhook_id is not None:
        statement = statement.where(WebhookDelivery.webhook_id == webhook_id)
    if state is not None:
        statement = statement.where(_IN[state])
    if before is not None:
        statement = statement.where(WebhookDelivery.id < before)
    return session.scalars(statement).all()


def retry(session: Session, which: ColumnElement[bool], now: datetime) -> int:
    """Failed deliveries are due again, with all their attempts before them; how many."""
    statement = (
        update(WebhookDelivery)
        .where(_IN["failed"], which)
        .values(failed_at=None, next_attempt_at=now, not_before=now, attempts=0)
        .returning(WebhookDelivery.id)
    )
    return len(session.execute(statement).all())


def prune(engine: Engine, before: datetime, most: int) -> int:
    """Deletes up to `most` deliveries that arrived before then; the number deleted. What waits or
    has failed stays."""
    old = (
        select(WebhookDelivery.id)
        .where(WebhookDelivery.delivered_at < before)
        .order_by(WebhookDelivery.delivered_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    with Session(engine) as session, session.begin():
        ids = session.scalars(old).all()
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)))
    return len(ids)


def _body(kind: str, at: datetime, data: str) -> bytes:
    """As the specification recommends; the very bytes that are signed and sent at each attempt."""
    return f'{{"type":"{kind}","timestamp":"{at.isoformat()}","data":{data}}}'.encode()
