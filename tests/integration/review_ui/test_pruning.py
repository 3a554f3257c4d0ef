"""Does what was sent long ago leave the tables, and nothing else?"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, insert, select
from sqlalchemy.orm import Session

from services.review_ui.outbox import pruning
from services.review_ui.outbox.pruning import Pruning
from services.review_ui.outbox.relay import Relay
from services.review_ui.webhooks import store as webhook_store
from shared.events.models import ItemReviewed
from shared.messaging.connection import Broker
from shared.storage.database import connect
from shared.storage.tables import Outbox, WebhookDelivery
from tests.support.amqp_client import until
from tests.support.review_service import START, TurnedClock

KEEP = timedelta(days=30)
OLD = START - KEEP - timedelta(seconds=1)
YOUNG = START - KEEP + timedelta(hours=2)


def events(engine: Engine, name: str, published_at: datetime | None, count: int = 1) -> None:
    """Rows of the outbox, all of them written long ago."""
    row = {
        "exchange": name,
        "routing_key": "",
        "headers": {},
        "type": ItemReviewed.type,
        "body": b"",
        "created_at": OLD,
        "not_before": OLD,
        "published_at": published_at,
    }
    with engine.begin() as connection:
        connection.execute(insert(Outbox), [{**row, "event_id": uuid4()} for _ in range(count)])


def deliveries(engine: Engine) -> None:
    """An old and a young delivery that arrived, one that waits and one that has failed."""
    states: dict[str, dict[str, datetime]] = {
        "old": {"delivered_at": OLD},
        "young": {"delivered_at": YOUNG},
        "waiting": {"next_attempt_at": OLD},
        "failed": {"failed_at": OLD},
    }
    with Session(engine) as session, session.begin():
        hook = webhook_store.create(session, "https://example.org", None, [ItemReviewed.type], OLD)
        session.flush()
        for name, state in states.items():
            session.add(
                WebhookDelivery(
                    webhook_id=hook.id, event_id=uuid4(), type=name, not_before=OLD, **state
                )
            )


def left(engine: Engine) -> tuple[Sequence[str], Sequence[str]]:
    with Session(engine) as session:
        return (
            session.scalars(select(Outbox.exchange).order_by(Outbox.id)).all(),
            session.scalars(select(WebhookDelivery.type).order_by(WebhookDelivery.id)).all(),
        )


def test_only_what_was_sent_long_ago_is_deleted(engine: Engine) -> None:
    # Given old rows that were sent, others sent since, and some that never were, as old as any
    events(engine, "old", OLD)
    events(engine, "young", YOUNG)
    events(engine, "unpublished", None)
    deliveries(engine)
    clock = TurnedClock()
    prune = Pruning(engine, clock, KEEP)
    # If it is tidied, I expect exactly the old ones that were sent to be gone
    assert prune.step() == 2
    assert left(engine) == (["young", "unpublished"], ["young", "waiting", "failed"])
    # and within the hour nothing more, then what has grown old since, and never the unsent
    clock.turn(59 * 60)
    assert prune.step() == 0
    clock.turn(3_600 * 2)
    assert prune.step() == 2
    clock.turn(3_600 * 24 * 365)
    assert prune.step() == 0
    assert left(engine) == (["unpublished"], ["waiting", "failed"])


def test_much_is_deleted_in_parts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given more than one part, some of it held by somebody
    monkeypatch.setattr(pruning, "PART_ROWS", 10)
    events(engine, "old", OLD, 25)
    prune = Pruning(engine, TurnedClock(), KEEP)
    with Session(engine) as session:
        session.scalars(select(Outbox).order_by(Outbox.id).limit(3).with_for_update()).all()
        # I expect one part a step, without waiting for what is held
        assert [prune.step() for _ in range(4)] == [10, 10, 2, 0]
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 3


def test_the_relay_deletes_when_it_has_nothing_to_publish(engine: Engine, amqp_url: str) -> None:
    # Given an old event in the outbox, and a relay with a broker
    events(engine, "old", OLD)
    clock = TurnedClock()
    broker = Broker(amqp_url, name="test-pruning")
    broker.start()
    assert broker.wait_ready(20)
    relay = Relay(engine, broker, clock, Pruning(engine, clock, KEEP).step)
    # If it runs, I expect the event to go
    stopping = threading.Event()
    thread = threading.Thread(target=relay.run, args=(stopping,))
    thread.start()
    try:
        until(lambda: left(engine)[0] == [], what="the old event being deleted")
    finally:
        stopping.set()
        thread.join(20)
        broker.close()


def test_an_outage_of_the_database_is_survived() -> None:
    # Given a database that cannot be reached, I expect no error and nothing deleted
    away = connect("postgresql://nobody@127.0.0.1:1/none")
    assert Pruning(away, TurnedClock(), KEEP).step() == 0
