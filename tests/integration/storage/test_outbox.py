"""Does every decision leave exactly when it may, through crashes and outages, and no other?"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.outbox.relay import Relay
from shared.clock import utc_now
from shared.errors import Overloaded
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.service.metrics import OUTBOX_OLDEST_UNPUBLISHED
from shared.storage import outbox
from shared.storage.database import connect
from shared.storage.tables import Outbox
from shared.topology import accepted_queue, topology
from tests.support.amqp_client import outsider, until
from tests.support.item_events import TRACEPARENT, Journey
from tests.support.review_service import START, TurnedClock

ACCEPTED = accepted_queue("sentiment")


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    broker = Broker(amqp_url, name="test-relay", topology=topology(["sentiment"], [5]))
    broker.start()
    assert broker.wait_ready(20)
    yield broker
    broker.close()


def write(engine: Engine, *names: str, wait_seconds: float = 0) -> None:
    """Decides items; their events may leave after the wait."""
    with Session(engine) as session, session.begin():
        for name in names:
            outbox.append(
                session,
                Journey(name).reviewed("negative"),
                source="review-ui",
                traceparent=TRACEPARENT,
                not_before=START + timedelta(seconds=wait_seconds),
            )


def unpublished(engine: Engine) -> int:
    with Session(engine) as session:
        return session.query(Outbox).filter(Outbox.published_at.is_(None)).count()


@contextmanager
def relaying(relay: Relay) -> Iterator[None]:
    """The relay's loop in a thread."""
    stopping = threading.Event()
    thread = threading.Thread(target=relay.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(20)
        assert not thread.is_alive()


class Dying:
    """A broker connection whose process is killed just after, or just before, the publish."""

    def __init__(self, broker: Broker, *, after: bool) -> None:
        self.broker = broker
        self.after = after

    def __call__(self, messages: Sequence[Outgoing]) -> None:
        if self.after:
            self.broker.publish(messages)
        raise KeyboardInterrupt


def test_what_is_due_leaves_once_and_complete(
    engine: Engine, broker: Broker, amqp_url: str
) -> None:
    # Given a decision whose event may leave now
    write(engine, "i1")
    # If the relay looks twice
    relay = Relay(engine, broker, TurnedClock())
    assert (relay.publish_once(), relay.publish_once()) == (1, 0)
    # I expect one persistent message with the event's own id, as any other event has it
    with outsider(amqp_url) as program:
        (message,) = program.take(ACCEPTED, 1)
        assert message.message_id == str(Journey("i1").reviewed("negative").event_id)
        assert message.headers["cloudEvents_type"] == "item.reviewed"
        assert message.headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
        assert message.persistent
        assert program.ready(ACCEPTED) == 0
    assert unpublished(engine) == 0


def test_nothing_leaves_before_its_time(engine: Engine, broker: Broker) -> None:
    # Given an event that waits for an undo
    write(engine, "i1", wait_seconds=5)
    clock = TurnedClock()
    relay = Relay(engine, broker, clock)
    # If the relay looks too early, just too early, and in time, I expect 0, 0, 1
    assert relay.publish_once() == 0
    clock.turn(4.999)
    assert relay.publish_once() == 0
    clock.turn(0.001)
    assert relay.publish_once() == 1


def test_an_event_of_a_transaction_that_fails_never_leaves(engine: Engine, broker: Broker) -> None:
    # Given a decision whose transaction breaks after the event was written
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        outbox.append(
            session,
            Journey("i1").reviewed("negative"),
            source="review-ui",
            traceparent=TRACEPARENT,
            not_before=START,
        )
        session.flush()
        raise ZeroDivisionError
    # I expect nothing to publish
    assert Relay(engine, broker, TurnedClock()).publish_once() == 0


def test_a_relay_killed_before_the_publish_loses_nothing(
    engine: Engine, broker: Broker, amqp_url: str
) -> None:
    # Given a decision that is committed, and a process that dies before it is published
    write(engine, "i1")
    with pytest.raises(KeyboardInterrupt):
        outbox.publish_due(engine, Dying(broker, after=False), START)
    with outsider(amqp_url) as program:
        assert program.ready(ACCEPTED) == 0
        # If the next process starts, I expect the event to leave, once
        assert Relay(engine, broker, TurnedClock()).publish_once() == 1
        program.take(ACCEPTED, 1)
        assert Relay(engine, broker, TurnedClock()).publish_once() == 0


def test_a_relay_killed_after_the_publish_repeats_it_under_the_same_id(
    engine: Engine, broker: Broker, amqp_url: str
) -> None:
    # Given a process that dies between the broker's confirm and its own commit
    write(engine, "i1")
    with pytest.raises(KeyboardInterrupt):
        outbox.publish_due(engine, Dying(broker, after=True), START)
    # If the next one takes over
    assert Relay(engine, broker, TurnedClock()).publish_once() == 1
    # I expect the same message again, recognisable by its id
    with outsider(amqp_url) as program:
        first, second = program.take(ACCEPTED, 2)
    assert (first.message_id, first.body) == (second.message_id, second.body)


def test_two_relays_share_the_work_and_repeat_nothing(
    engine: Engine, broker: Broker, amqp_url: str
) -> None:
    # Given many events and two processes
    write(engine, *(f"i{number}" for number in range(1_200)))
    with relaying(Relay(engine, broker, utc_now)), relaying(Relay(engine, broker, utc_now)):
        until(lambda: unpublished(engine) == 0, what="everything being published")
    # I expect each event once
    with outsider(amqp_url) as program:
        messages = program.take(ACCEPTED, 1_200)
    assert len({message.message_id for message in messages}) == 1_200


def test_an_outage_of_the_broker_only_delays(engine: Engine, amqp_url: str) -> None:
    # Given a broker that cannot be reached, and decisions made meanwhile
    clock = TurnedClock()
    write(engine, "i1", "i2")
    away = Broker("amqp://guest:guest@127.0.0.1:1/", name="away")
    away.start()
    relay = Relay(engine, away, clock)
    clock.turn(42)
    # If the relay tries, I expect it to say so, to keep everything and to show how long it waits
    with pytest.raises(Overloaded):
        relay.publish_once()
    assert OUTBOX_OLDEST_UNPUBLISHED._value.get() == 42
    with relaying(relay):
        until(lambda: relay.problem() is not None, what="the relay reporting its problem")
    away.close()
    assert unpublished(engine) == 2
    # and once there is a broker, all of it to leave
    broker = Broker(amqp_url, name="back", topology=topology(["sentiment"], [5]))
    broker.start()
    assert broker.wait_ready(20)
    with relaying(back := Relay(engine, broker, clock)):
        until(lambda: unpublished(engine) == 0, what="everything being published")
        until(lambda: OUTBOX_OLDEST_UNPUBLISHED._value.get() == 0, what="the gauge going to 0")
        assert back.problem() is None
    broker.close()


def test_an_outage_of_the_database_only_delays(engine: Engine, broker: Broker) -> None:
    # Given a relay that cannot reach its database
    away = connect(engine.url.set(port=1).render_as_string(hide_password=False))
    relay = Relay(away, broker, utc_now)
    # If it runs, I expect it to live on and to report the problem
    with relaying(relay):
        until(lambda: relay.problem() is not None, what="the relay reporting its problem")
    assert "Postgres" in (relay.problem() or "")


def test_only_what_may_not_have_left_can_be_withdrawn(engine: Engine) -> None:
    # Given one event that waits and one whose time has come
    write(engine, "waits", wait_seconds=5)
    write(engine, "due", wait_seconds=1)
    with Session(engine) as session, session.begin():
        now = START + timedelta(seconds=1)
        # If both are withdrawn, I expect only the first to go
        assert outbox.withdraw(session, Journey("waits").reviewed("negative"), now)
        assert not outbox.withdraw(session, Journey("due").reviewed("negative"), now)
    assert unpublished(engine) == 1


def test_what_could_not_get_to_its_queue_stays_due_and_holds_up_nobody_else(
    engine: Engine,
) -> None:
    # Given decisions of workflows with names that are alike
    now = START + timedelta(seconds=1)
    with Session(engine) as session, session.begin():
        for name in ("a_b", "axb", "x-a_b"):
            event = Journey(f"item of {name}").reviewed("negative")
            outbox.append(
                session, event.model_copy(update={"workflow": name}), source="review-ui",
                traceparent=TRACEPARENT, not_before=START,
            )  # fmt: skip
    sent: list[Outgoing] = []
    # If the queues of one of them are refused / I expect the others to leave, and its own
    assert outbox.publish_due(engine, sent.extend, now, ["a_b"]) == 2
    assert {one.routing_key for one in sent} == {"item.reviewed.axb", "item.reviewed.x-a_b"}
    # to wait until they are there.
    assert outbox.publish_due(engine, sent.extend, now) == 1
    assert sent[-1].routing_key == "item.reviewed.a_b"
