"""The outbox: events that must leave with the commit.

`append` writes an event next to the change that made it true; `publish_due` sends what is due and
marks it only once the broker has confirmed. A process that dies in between sends the event again
with the same id, never not at all (the "transactional outbox").
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Engine, bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from shared.events.envelope import encode
from shared.events.models import Event
from shared.messages import Outgoing
from shared.storage.tables import Outbox

BATCH_ROWS = 500
# Built once: `in_` leaves cycles of objects to Python's collector wherever it is written down anew.
_MARK = (
    update(Outbox)
    .where(Outbox.id.in_(bindparam("ids", expanding=True)))
    .values(published_at=bindparam("now"))
)


def append(
    session: Session, event: Event, *, source: str, traceparent: str, not_before: datetime
) -> None:
    """Adds `event` to the session's transaction; it may be published from `not_before` on."""
    message = encode(event, source=source, traceparent=traceparent)
    session.add(
        Outbox(
            event_id=event.event_id,
            exchange=message.exchange,
            routing_key=message.routing_key,
            headers=dict(message.headers),
            type=event.type,
            body=message.body,
            not_before=not_before,
        )
    )


def withdraw(session: Session, event: Event, now: datetime) -> bool:
    """Takes the event back where it may not be published yet; False where it is too late.

    A row that the relay may have sent is never touched: `not_before` alone says so, also after
    the relay died between publishing and marking.
    """
    statement = (
        delete(Outbox)
        .where(
            Outbox.event_id == event.event_id,
            Outbox.published_at.is_(None),
            Outbox.not_before > now,
        )
        .returning(Outbox.id)
    )
    return session.execute(statement).first() is not None


def publish_due(
    engine: Engine,
    publish: Callable[[Sequence[Outgoing]], None],
    now: datetime,
    held: Iterable[str] = (),
) -> int:
    """Publishes up to `BATCH_ROWS` due events in order of writing; the number published. What is of
    the workflows `held` stays due.

    The rows stay locked until they are marked, so several relays share the work without sending
    anything twice. `publish` returns when all are confirmed; whatever it raises leaves them due.
    """
    due = (
        select(Outbox)
        .where(
            Outbox.published_at.is_(None),
            Outbox.not_before <= now,
            *(~Outbox.routing_key.endswith(f".{name}", autoescape=True) for name in held),
        )
        .order_by(Outbox.id)
        .limit(BATCH_ROWS)
        .with_for_update(skip_locked=True)
    )
    with Session(engine) as session, session.begin():
        rows = session.scalars(due).all()
        if rows:
            publish([_message(row) for row in rows])
            _mark(session, rows, now)
    return len(rows)


def prune(engine: Engine, before: datetime, most: int) -> int:
    """Deletes up to `most` events that were published before then; the number deleted. What is not
    published is never touched, however old."""
    old = (
        select(Outbox.id)
        .where(Outbox.published_at < before)
        .order_by(Outbox.published_at)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    with Session(engine) as session, session.begin():
        ids = session.scalars(old).all()
        session.execute(delete(Outbox).where(Outbox.id.in_(ids), Outbox.published_at.is_not(None)))
    return len(ids)


def oldest_due_seconds(engine: Engine, now: datetime) -> float:
    """How long the oldest due event has been waiting; 0 when none is due."""
    oldest = select(func.min(Outbox.not_before)).where(
        Outbox.published_at.is_(None), Outbox.not_before <= now
    )
    with engine.connect() as connection:
        since = connection.execute(oldest).scalar()
    return (now - since).total_seconds() if since is not None else 0.0


def _mark(session: Session, rows: Sequence[Outbox], now: datetime) -> None:
    session.execute(_MARK, {"ids": [row.id for row in rows], "now": now})


def _message(row: Outbox) -> Outgoing:
    return Outgoing(
        exchange=row.exchange,
        routing_key=row.routing_key,
        body=bytes(row.body),
        message_id=str(row.event_id),
        headers=row.headers,
        type=row.type,
        timestamp=int(row.created_at.timestamp()),
    )
