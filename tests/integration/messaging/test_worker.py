"""Does the runtime keep its promises on a real broker?"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from shared.errors import Overloaded, Permanent, Retryable
from shared.messages import Delivery, Outgoing, Result
from shared.messaging.consumer import HOLD_SECONDS
from shared.messaging.worker import Worker
from shared.service.lifecycle import Lifecycle
from shared.service.settings import Settings
from shared.topology import ROUTER_QUEUE, topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import Outsider, outsider, until
from tests.support.service_workers import answers

SETTINGS = {"retry_delays_seconds": (1, 2), "shutdown_seconds": 10.0}

# On its own, and on that of the connection.
ON_BOTH_THREADS = pytest.mark.parametrize("at_once", [False, True])


def forward(delivery: Delivery) -> Sequence[Outgoing]:
    """A handler's output: the same body as an accepted item, with the delivery's id."""
    return (
        Outgoing(
            "hitl.events", "item.accepted.sentiment", delivery.body, delivery.message_id or "none"
        ),
    )


@dataclass
class Recorder:
    """Handles each delivery by `act` and remembers the batches it was given."""

    act: Callable[[Delivery], Result] = forward
    before: Callable[[Sequence[Delivery]], None] = lambda batch: None
    batches: list[list[bytes]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def handle(self, batch: Sequence[Delivery]) -> Sequence[Result]:
        self.threads.add(threading.current_thread().name)
        self.batches.append([delivery.body for delivery in batch])
        self.before(batch)
        return [self.act(delivery) for delivery in batch]

    @property
    def seen(self) -> list[bytes]:
        return [body for batch in self.batches for body in batch]


@contextmanager
def working(
    amqp_url: str,
    handler: Recorder,
    *,
    prefetch: int = 100,
    max_batch: int = 50,
    max_bytes: int | None = None,
    at_once: bool = False,
    slow_start: bool = True,
    hold_seconds: float = HOLD_SECONDS,
    **settings: object,
) -> Iterator[Lifecycle]:
    """A router-like worker in a thread; stopped in order at the end."""
    chosen = Settings.model_validate({**SETTINGS, "amqp_url": SecretStr(amqp_url), **settings})
    lifecycle = Lifecycle()
    worker = Worker(
        service="test",
        settings=chosen,
        topology=topology(["sentiment"], chosen.retry_delays_seconds),
        lifecycle=lifecycle,
        queues=[ROUTER_QUEUE],
        handler=handler,
        prefetch=prefetch,
        max_batch=None if at_once else max_batch,
        max_bytes=max_bytes,
        slow_start=slow_start,
        hold_seconds=hold_seconds,
    )
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        until(lambda: not lifecycle.problems(), what="the worker being ready")
        yield lifecycle
    finally:
        lifecycle.stopping.set()
        thread.join(20)
        assert not thread.is_alive(), "the worker stops within its deadline"


def scored(program: Outsider, *bodies: str) -> None:
    for body in bodies:
        program.publish(
            body, exchange="hitl.events", routing_key="item.scored.sentiment", message_id=body
        )


@pytest.fixture
def program(amqp_url: str) -> Iterator[Outsider]:
    with outsider(amqp_url) as one:
        yield one


def cut(rabbitmq: RabbitMQ, amqp_url: str) -> None:
    """Ends the worker's connection, as soon as the broker tells of it."""
    vhost = amqp_url.rpartition("/")[2]
    named: list[str] = []
    while not named:
        named = [
            connection["name"]
            for connection in rabbitmq.api.get(f"/vhosts/{vhost}/connections").json()
            if connection.get("client_properties", {}).get("connection_name") == "hitl-test"
        ]
    for name in named:
        rabbitmq.api.delete(f"/connections/{name}")


def seconds_handled() -> float:
    """What the metric of the handler's time says so far."""
    metric = "hitl_message_process_duration_seconds_sum"
    return REGISTRY.get_sample_value(metric, {"queue": ROUTER_QUEUE}) or 0.0


@ON_BOTH_THREADS
def test_every_input_gives_its_output_and_is_acked(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    handler = Recorder()
    with working(amqp_url, handler, at_once=at_once):
        scored(program, *(f"m{number}" for number in range(100)))
        received = program.take("hitl.sentiment.accepted", 100)
        until(lambda: program.ready(ROUTER_QUEUE) == 0)
    assert [thread.startswith("amqp-") for thread in handler.threads] == [at_once]
    assert [message.body.decode() for message in received] == [f"m{n}" for n in range(100)]
    assert all(message.persistent for message in received)
    # Stopped in order, the worker leaves nothing behind that would be delivered again.
    assert program.drain(ROUTER_QUEUE) == []


def test_an_input_is_not_acked_before_its_output_is_confirmed(
    amqp_url: str, program: Outsider
) -> None:
    """The accepted queue is full, so the broker refuses the output: the input stays ours."""
    handler = Recorder()
    before = answers("nacked")
    with working(amqp_url, handler, prefetch=1_000):
        program.delete("hitl.sentiment.accepted")
        program.declare(
            "hitl.sentiment.accepted",
            **{"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-max-length": 30},
        )
        program.bind("hitl.sentiment.accepted", "hitl.events", "item.accepted.sentiment")
        # A quorum queue refuses a little late, so that a few more than one get in.
        names = [f"m{number}" for number in range(100)]
        scored(program, *names)
        until(lambda: len(handler.seen) == 100)
        until(lambda: answers("nacked") > before, what="a refusal")
        assert program.ready("hitl.sentiment.accepted") < 100, "the full queue refused some"
        # When there is room again the refused ones arrive, under the ids they had.
        taken: set[str | None] = set()
        deadline = time.monotonic() + 60
        while len(taken) < 100 and time.monotonic() < deadline:
            taken |= {message.message_id for message in program.drain("hitl.sentiment.accepted")}
            time.sleep(0.05)
    assert taken == set(names)
    assert sorted(handler.seen) == sorted(name.encode() for name in names), "none handled twice"


def in_progress() -> float | None:
    return REGISTRY.get_sample_value("hitl_messages_in_progress", {"queue": ROUTER_QUEUE})


def test_what_is_in_progress_is_counted_and_nothing_once_all_is_done(
    amqp_url: str, program: Outsider
) -> None:
    held = threading.Event()
    handler = Recorder(before=lambda batch: None if batch[0].body == b"warm-up" else _wait(held))
    with working(amqp_url, handler):
        scored(program, "warm-up")
        program.take("hitl.sentiment.accepted", 1)
        scored(program, *(f"m{number}" for number in range(10)))
        until(lambda: in_progress() == 10)
        held.set()
        program.take("hitl.sentiment.accepted", 10)
        # An idle worker takes no further batch, and still tells the truth.
        until(lambda: in_progress() == 0)


def _wait(held: threading.Event) -> None:
    assert held.wait(20)


def test_what_is_not_confirmed_at_the_stop_goes_back_to_its_queue(
    amqp_url: str, program: Outsider
) -> None:
    before = answers("returned")
    with working(amqp_url, Recorder(), shutdown_seconds=1.0):
        program.delete("hitl.sentiment.accepted")
        program.delete("hitl.log")  # now nothing is bound: the output comes back as unroutable
        scored(program, "m1")
        until(lambda: answers("returned") > before)
    assert [message.body for message in program.take(ROUTER_QUEUE, 1)] == [b"m1"]


@ON_BOTH_THREADS
def test_a_stop_under_load_gives_nothing_back(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    """Also what was on its way to us when we cancelled is ours: given back, it would come again
    with a delivery counted against it."""
    names = [f"m{number}" for number in range(3_000)]
    with working(amqp_url, Recorder(), at_once=at_once):
        pass
    scored(program, *names)
    done: list[bytes] = []
    for _ in range(4):
        if done and program.ready(ROUTER_QUEUE) < 1_000:
            break  # on a slow machine we look seldom, and much is done in between
        handler = Recorder()
        with working(amqp_url, handler, at_once=at_once):
            until(lambda: len(handler.seen) >= 100)  # noqa: B023 - of this round
        done += handler.seen
    left = program.drain(ROUTER_QUEUE)
    again = [message.body for message in left if message.redelivered]
    assert [body for body in again if body in set(done)] == [], "handled, but not acked"
    assert again == [], "not handled"
    assert sorted([*done, *(message.body for message in left)]) == sorted(map(str.encode, names))


def test_a_deleted_queue_is_declared_again_and_served(amqp_url: str, program: Outsider) -> None:
    handler = Recorder()
    with working(amqp_url, handler) as lifecycle:
        scored(program, "before")
        until(lambda: handler.seen == [b"before"])
        program.delete(ROUTER_QUEUE)  # the broker cancels our consumer, and says no more than that
        until(lambda: program.exists(ROUTER_QUEUE) and not lifecycle.problems())
        scored(program, "after")
        until(lambda: handler.seen[-1] == b"after")


def test_an_output_that_waits_is_not_sent_twice_after_a_reconnect(
    amqp_url: str, program: Outsider
) -> None:
    """Its input comes again with the new connection, and brings the output with it."""
    handler = Recorder()
    with working(amqp_url, handler) as lifecycle:
        scored(program, "warm-up")
        program.take("hitl.sentiment.accepted", 1)
        program.delete("hitl.sentiment.accepted")
        program.delete("hitl.log")  # now nothing is bound: the output comes back as unroutable
        before = answers("returned")
        scored(program, "m1")
        until(lambda: answers("returned") > before)
        assert handler.seen[-1] == b"m1"
        program.delete(ROUTER_QUEUE)  # ends the connection; the new one declares all again
        until(lambda: program.exists(ROUTER_QUEUE) and program.exists("hitl.sentiment.accepted"))
        # A queue is there before its bindings are: only a ready worker has declared all of it.
        until(lambda: not lifecycle.problems())
        scored(program, "m2")
        arrived = program.take("hitl.sentiment.accepted", 1)
        time.sleep(1)
        arrived += program.drain("hitl.sentiment.accepted")
    assert [message.message_id for message in arrived] == ["m2"], "m1 went with its queue"


@ON_BOTH_THREADS
def test_a_permanent_failure_is_a_dead_letter_with_a_reason_and_an_event(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    with working(
        amqp_url, Recorder(act=lambda _: Permanent("schema", "text: missing")), at_once=at_once
    ):
        scored(program, "bad")
        [letter] = program.take("hitl.router.dlq", 1)
        events = program.take("hitl.log", 2)
    assert letter.body == b"bad"
    assert letter.headers["x-hitl-reason"] == "schema"
    assert letter.headers["x-hitl-error"] == "text: missing"
    failed = json.loads(events[-1].body)
    assert events[-1].routing_key == "item.failed.sentiment"
    assert (failed["reason"], failed["queue"]) == ("schema", "hitl.router")


def test_a_retryable_failure_comes_back_later_and_at_last_is_set_aside(
    amqp_url: str, program: Outsider
) -> None:
    seen: list[tuple[float, str, str]] = []

    def fail(delivery: Delivery) -> Result:
        seen.append((time.monotonic(), delivery.exchange, delivery.routing_key))
        return Retryable("the oracle sleeps")

    with working(amqp_url, Recorder(act=fail)):
        scored(program, "m1")
        [letter] = program.take("hitl.router.dlq", 1)
    assert letter.headers["x-hitl-reason"] == "retries_exhausted"
    assert letter.headers["x-attempt"] == 3
    assert len(seen) == 3, "the first try and one for each delay"
    assert seen[1][0] - seen[0][0] >= 0.45
    assert seen[2][0] - seen[1][0] >= 0.95
    # It looks the same on every try, though it came back through the default exchange.
    assert {(exchange, key) for _, exchange, key in seen} == {
        ("hitl.events", "item.scored.sentiment")
    }


def test_who_says_that_a_message_was_tried_before_takes_none_of_its_attempts_away(
    amqp_url: str, program: Outsider
) -> None:
    # Given a message that carries the header by which we count, as a copied dead letter does
    seen: list[str | None] = []

    def fail(delivery: Delivery) -> Result:
        seen.append(delivery.header("x-kept"))
        return Retryable("the oracle sleeps")

    with working(amqp_url, Recorder(act=fail)):
        program.publish(
            "m1",
            exchange="hitl.events",
            routing_key="item.scored.sentiment",
            headers={"x-attempt": 3, "x-kept": "yes"},
        )
        [letter] = program.take("hitl.router.dlq", 1)
    # I expect it to be tried as often as any other
    assert seen == ["yes"] * 3
    assert letter.headers["x-hitl-reason"] == "retries_exhausted"


@ON_BOTH_THREADS
def test_an_exception_is_isolated_to_the_message_that_causes_it(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    def explode(batch: Sequence[Delivery]) -> None:
        if any(delivery.body == b"bomb" for delivery in batch):
            raise ZeroDivisionError("boom")

    with working(amqp_url, Recorder(before=explode), at_once=at_once):
        scored(program, "warm-up")
        program.take("hitl.sentiment.accepted", 1)
        scored(program, *(f"m{number}" for number in range(20)), "bomb", "last")
        received = program.take("hitl.sentiment.accepted", 21)
        [letter] = program.take("hitl.router.dlq", 1)
    assert {message.body.decode() for message in received} == {
        *(f"m{number}" for number in range(20)), "last",
    }  # fmt: skip
    assert letter.body == b"bomb"
    assert "ZeroDivisionError" in letter.headers["x-hitl-error"]


@ON_BOTH_THREADS
def test_an_overloaded_handler_holds_the_batch_and_gets_it_again(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    calls = []
    back = threading.Event()

    def away_at_first(batch: Sequence[Delivery]) -> None:
        calls.append(len(batch))
        if len(calls) < 4 or not back.is_set():
            raise Overloaded("the database is away")

    before = seconds_handled()
    with working(amqp_url, Recorder(before=away_at_first), at_once=at_once) as lifecycle:
        scored(program, "m1")
        until(lambda: lifecycle.problems().get("overload") == "the database is away")
        back.set()
        program.take("hitl.sentiment.accepted", 1)
        until(lambda: not lifecycle.problems(), what="being ready again")
        assert program.ready("hitl.router.dlq") == 0
    assert len(calls) >= 4
    assert seconds_handled() - before < 0.5, "pauses are not time in the handler"


def test_what_is_held_through_a_long_outage_is_not_taken_for_what_ends_its_consumer(
    amqp_url: str, program: Outsider, rabbitmq: RabbitMQ
) -> None:
    """RabbitMQ takes back what is held for half an hour (`consumer_timeout`), and ends the
    connection, again and again: each time counts a delivery."""
    away, seen = threading.Event(), set[int]()
    away.set()

    def hold(batch: Sequence[Delivery]) -> None:
        seen.update(delivery.count("x-delivery-count") for delivery in batch)
        if away.is_set():
            raise Overloaded("the database is away")

    def counted(deaths: int) -> None:
        until(lambda: deaths in seen, what=f"a delivery after {deaths} others")

    # Given a handler that is held up with a message
    with working(amqp_url, Recorder(before=hold), delivery_limit=2):
        scored(program, "m1")
        # If its connection ends more often than a message may be delivered
        for deaths in range(4):
            counted(deaths)
            cut(rabbitmq, amqp_url)
        counted(4)
        # and then the database is back
        away.clear()
        # I expect the message to be handled
        program.take("hitl.sentiment.accepted", 1)
        assert program.ready("hitl.router.dlq") == 0


def test_a_message_whose_handler_hangs_goes_to_another_worker(
    amqp_url: str, program: Outsider, rabbitmq: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    if rabbitmq.api.get("/overview").json()["rabbitmq_version"] < "4.3":
        pytest.skip("before 4.3 there is one limit for the whole node: half an hour")
    hangs, go_on = threading.Event(), threading.Event()

    def hang(batch: Sequence[Delivery]) -> None:
        if not hangs.is_set():
            hangs.set()
            assert go_on.wait(60)

    # Given a worker whose handler hangs at a message, and two more of them
    with working(amqp_url, Recorder(before=hang), hold_seconds=1.0) as lifecycle:
        scored(program, "m1", "m2", "m3")
        assert hangs.wait(20)
        # If it is held for longer than RabbitMQ may wait
        until(lambda: "handler" in lifecycle.problems(), seconds=20)
        # I expect the worker to take nothing else, and a second one to handle all three
        other = Recorder()
        with working(amqp_url, other):
            until(lambda: sorted(set(other.seen)) == [b"m1", b"m2", b"m3"], seconds=20)
            # and when the first goes on, its late answer to settle nothing, and it to work again
            go_on.set()
            until(lambda: not lifecycle.problems(), seconds=20)
        scored(program, "m4")
        accepted = [message.body for message in program.take("hitl.sentiment.accepted", 4)]
        assert sorted(accepted) == [b"m1", b"m2", b"m3", b"m4"]
        until(lambda: program.ready(ROUTER_QUEUE) == 0)
        assert program.ready("hitl.router.dlq") == 0
    assert not [record for record in caplog.records if record.exc_info]
    # It takes the consumer away; where that has just gone (slow start), it closes the channel.
    assert "unacknowledged for too long" in caplog.text or "acknowledgement" in caplog.text


def test_what_was_held_for_too_long_is_not_taken_for_what_ends_its_consumer(
    amqp_url: str, program: Outsider, rabbitmq: RabbitMQ
) -> None:
    if rabbitmq.api.get("/overview").json()["rabbitmq_version"] < "4.3":
        pytest.skip("counted apart since RabbitMQ 4.3")
    # Given a message that RabbitMQ took back more often than it may be delivered
    away, held = threading.Event(), list[int]()
    away.set()

    def hold(batch: Sequence[Delivery]) -> None:
        held.extend(delivery.count("x-acquired-count") for delivery in batch)
        if away.is_set():
            raise Overloaded("the database is away")

    handler = Recorder(before=hold)
    with working(amqp_url, handler, delivery_limit=2, hold_seconds=0.5, prefetch=2):
        scored(program, "m1", "m2")
        until(lambda: 3 in held, seconds=60)
    # If another worker, which knows nothing of the outage, takes it
    with working(amqp_url, Recorder(), delivery_limit=2):
        # I expect it to be handled
        program.take("hitl.sentiment.accepted", 2)
        assert program.ready("hitl.router.dlq") == 0


@ON_BOTH_THREADS
def test_a_stop_while_overloaded_is_quick_and_gives_the_batch_back(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    def away(batch: Sequence[Delivery]) -> None:
        raise Overloaded("the database is away")

    with working(
        amqp_url, Recorder(before=away), shutdown_seconds=25.0, at_once=at_once
    ) as lifecycle:
        scored(program, "m1")
        until(lambda: "overload" in lifecycle.problems())
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert [message.body for message in program.take(ROUTER_QUEUE, 1)] == [b"m1"]


@ON_BOTH_THREADS
def test_too_many_dead_letters_in_a_row_pause_the_consumer(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    handler = Recorder(act=lambda _: Permanent("unscorable", "wrong model"))
    with working(
        amqp_url,
        handler,
        prefetch=5,
        max_batch=1,
        at_once=at_once,
        breaker_failures=5,
        breaker_pause_seconds=60,
    ) as lifecycle:
        scored(program, *(f"m{number}" for number in range(100)))
        until(lambda: "dead_letters" in lifecycle.problems())
        # (nothing is under way any more once nobody consumes and all are in one queue or the other)
        aside = partial(program.ready, "hitl.router.dlq")
        until(lambda: program.consumers(ROUTER_QUEUE) == 0)
        until(lambda: program.ready(ROUTER_QUEUE) + aside() == 100)
        assert aside() <= 15, "the queue was not emptied into the DLQ"
        assert program.ready(ROUTER_QUEUE) >= 80


def test_slow_start_takes_redelivered_messages_one_at_a_time(
    amqp_url: str, program: Outsider
) -> None:
    """A consumer died with five messages in hand. The next one must not prefetch them together:
    whichever of them killed it would cost its neighbours a delivery each time."""
    with working(amqp_url, Recorder()):
        pass
    scored(program, *(f"m{number}" for number in range(5)))
    with outsider(amqp_url) as dying:
        dying.hold(ROUTER_QUEUE, 5)
    scored(program, *(f"n{number}" for number in range(100)))
    handler = Recorder(before=lambda _: time.sleep(0.01))
    with working(amqp_url, handler):
        program.take("hitl.sentiment.accepted", 105)
    sizes = [len(batch) for batch in handler.batches]
    assert sizes[:5] == [1] * 5, "the redelivered ones came alone"
    assert max(sizes) > 5, "then it went to full speed"


@ON_BOTH_THREADS
def test_a_message_that_keeps_ending_its_consumer_is_set_aside_and_alone(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    with working(amqp_url, Recorder(), at_once=at_once):
        pass
    scored(program, "killer")
    for _ in range(5):
        with outsider(amqp_url) as dying:
            dying.hold(ROUTER_QUEUE, 1)
    scored(program, "innocent")
    handler = Recorder()
    with working(amqp_url, handler, at_once=at_once):
        [letter] = program.take("hitl.router.dlq", 1)
        [received] = program.take("hitl.sentiment.accepted", 1)
    assert (letter.body, letter.headers["x-hitl-reason"]) == (b"killer", "delivery_limit")
    assert received.body == b"innocent"
    assert b"killer" not in handler.seen, "the handler never saw it again"


@ON_BOTH_THREADS
def test_only_what_the_broker_delivered_before_can_have_ended_its_consumer(
    amqp_url: str, program: Outsider, at_once: bool
) -> None:
    with working(amqp_url, Recorder(), at_once=at_once):
        pass
    handler = Recorder()
    while handler.batches != [[b"again", b"copied"]]:  # RabbitMQ may send them one by one
        # Given a message that comes again, and behind it one that somebody has copied with its
        # headers
        scored(program, "again")
        with outsider(amqp_url) as dying:
            dying.hold(ROUTER_QUEUE, 1)
        program.publish(
            "copied",
            exchange="hitl.events",
            routing_key="item.scored.sentiment",
            headers={"x-delivery-count": 20},
        )
        # If both come in one batch
        handler = Recorder()
        with working(amqp_url, handler, at_once=at_once, slow_start=False):
            received = program.take("hitl.sentiment.accepted", 2, seconds=5)
        # I expect both to be handled
        assert {message.body for message in received} == {b"again", b"copied"}


# What an item says that was copied from a dead-letter queue, or by somebody who means no good.
FORGED = {
    "x-delivery-count": 1_000,
    "x-acquired-count": 1_000,
    "x-death": [{"queue": ROUTER_QUEUE, "exchange": "x", "reason": "rejected", "count": 1_000}],
    "x-first-death-reason": "rejected",
}


@pytest.mark.parametrize("handed_back", [False, True])
def test_what_a_message_says_of_its_own_deliveries_counts_for_nothing(
    amqp_url: str, program: Outsider, handed_back: bool
) -> None:
    with working(amqp_url, Recorder()):
        pass
    # Given a message with the headers that RabbitMQ writes, and maybe one that was handed back:
    # RabbitMQ 4.3 does not count that as a delivery, and leaves what the message says
    program.publish(
        "m1", exchange="hitl.events", routing_key="item.scored.sentiment", headers=FORGED
    )
    if handed_back:
        program.give_back(ROUTER_QUEUE)
    # I expect it to be handled like any other
    with working(amqp_url, Recorder()):
        [received] = program.take("hitl.sentiment.accepted", 1)
    assert received.body == b"m1"
    assert program.ready("hitl.router.dlq") == 0


def test_nobody_can_say_that_a_message_did_not_end_its_consumer(
    amqp_url: str, program: Outsider
) -> None:
    with working(amqp_url, Recorder()):
        pass
    # Given a message that says it was never taken, and ends its consumers all the same
    program.publish(
        "killer",
        exchange="hitl.events",
        routing_key="item.scored.sentiment",
        headers={"x-delivery-count": 0, "x-acquired-count": 0},
    )
    for _ in range(5):
        with outsider(amqp_url) as dying:
            dying.hold(ROUTER_QUEUE, 1)
    # I expect it to be set aside
    handler = Recorder()
    with working(amqp_url, handler):
        [letter] = program.take("hitl.router.dlq", 1)
    assert letter.headers["x-hitl-reason"] == "delivery_limit"
    assert handler.seen == []


def test_a_limit_that_is_lifted_is_noticed_and_nothing_is_delivered_again(
    amqp_url: str, program: Outsider, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ 3.10 never tells a channel that a queue without its former limit takes messages."""
    monkeypatch.setattr("shared.messaging.publisher.STUCK_SECONDS", 1.0)
    vhost = amqp_url.rpartition("/")[2]
    policy, queue = f"/policies/{vhost}/full", f"/queues/{vhost}/hitl.sentiment.accepted"
    limit = {"definition": {"max-length": 5}, "pattern": "accepted$", "priority": 9}
    handler = Recorder()
    with working(amqp_url, handler, prefetch=1_000):
        rabbitmq.api.put(policy, json=limit).raise_for_status()
        until(lambda: rabbitmq.api.get(queue).json().get("policy") == "full", what="the limit")
        time.sleep(0.5)  # the queue hears of it a moment after the list of queues
        names, before = [f"m{number}" for number in range(100)], answers("nacked")
        scored(program, *names)
        until(lambda: len(handler.seen) == 100)
        until(lambda: answers("nacked") > before, what="a refusal")
        assert program.ready("hitl.sentiment.accepted") < 100, "the full queue refused some"
        # If an operator lifts the limit, I expect the rest to arrive
        rabbitmq.api.delete(policy).raise_for_status()
        until(lambda: program.ready("hitl.sentiment.accepted") >= 100, seconds=30)
        until(lambda: program.ready(ROUTER_QUEUE) == 0)
    assert {message.message_id for message in program.drain("hitl.sentiment.accepted")} == {*names}
    assert len(handler.seen) == 100, "no input came a second time"


def test_large_messages_are_held_by_their_bytes_and_small_ones_by_their_number(
    amqp_url: str, program: Outsider
) -> None:
    # Given a worker that may hold 600 messages, and a megabyte
    most = 1 << 20
    gate = threading.Event()
    gate.set()

    def wait(_batch: Sequence[Delivery]) -> None:
        gate.wait(30)

    handler = Recorder(act=lambda _: (), before=wait)
    small = [f"s{number}" for number in range(300)]
    large = [f"l{number}-" + "x" * 65_536 for number in range(60)]

    def send(bodies: Sequence[str]) -> None:
        for body in bodies:
            program.publish(body, exchange="hitl.events", routing_key="item.scored.sentiment")

    with working(amqp_url, handler, prefetch=600, max_batch=300, max_bytes=most):
        send(["a first one"])
        until(lambda: len(handler.seen) == 1)
        # If its work stands still and 300 small messages come, I expect it to hold them all.
        gate.clear()
        send(small)
        until(lambda: in_progress() == 300, what="small messages")
        # If large ones come behind them, which it has asked for
        send(large)
        until(lambda: (in_progress() or 0) > 310, what="large messages")
        gate.set()
        until(lambda: len(handler.seen) >= 361)
        # I expect that of more such no more are here than have a megabyte,
        gate.clear()
        send(large)
        until(lambda: (in_progress() or 0) > 2, what="large messages again")
        time.sleep(1)
        assert (in_progress() or 0) * 65_536 <= most
        gate.set()
        until(lambda: len(handler.seen) >= 421)
        # and all small ones, when such have come again for a while.
        send(small[:100])
        until(lambda: len(handler.seen) >= 521)
        gate.clear()
        send(small)
        until(lambda: in_progress() == 300, what="small messages again")
        gate.set()
        until(lambda: len(handler.seen) >= 821)
    # None was lost or given back; only what was on its way when it asked for fewer came twice.
    assert program.drain(ROUTER_QUEUE) == []
    assert set(handler.seen) == {body.encode() for body in ("a first one", *small, *large)}


def test_a_worker_begins_carefully_where_bytes_count(amqp_url: str, program: Outsider) -> None:
    # Given 13 megabytes in large messages that wait before it starts
    with working(amqp_url, Recorder()):
        pass  # declares the queue
    for number in range(200):
        program.publish(
            f"{number}-" + "x" * 65_536,
            exchange="hitl.events",
            routing_key="item.scored.sentiment",
        )
    # If it may hold 600 messages, and five megabytes
    held: list[float] = []
    handler = Recorder(act=lambda _: (), before=lambda _: time.sleep(0.05))
    with working(amqp_url, handler, prefetch=600, max_batch=300, max_bytes=5 << 20):
        while len(handler.seen) < 200:
            held.append((in_progress() or 0) * 65_536)
            time.sleep(0.002)
    # I expect no more of them to be held
    assert 5 << 19 < max(held) <= 5 << 20
    assert len(handler.seen) == 200


def test_a_batch_ends_with_the_message_that_reaches_the_bytes(
    amqp_url: str, program: Outsider
) -> None:
    """A handler may need a dozen times a batch's bytes, as one that inserts rows does."""
    # Given small and large messages that wait before the worker starts
    with working(amqp_url, Recorder()):
        pass  # declares the queue
    publish = partial(program.publish, exchange="hitl.events", routing_key="item.scored.sentiment")
    for number in range(100):
        publish("x" * (65_536 if number >= 50 else 1))
    # If a batch may have 300 of them, and half a megabyte
    handler = Recorder(act=lambda _: (), before=lambda _: time.sleep(0.2))
    with working(amqp_url, handler, prefetch=300, max_batch=300, max_bytes=1 << 19):
        until(lambda: len(handler.seen) == 100)
    # I expect as many small ones together as before, and of the large ones eight
    sizes = [len(batch) for batch in handler.batches]
    bodies = [sum(map(len, batch[:-1])) for batch in handler.batches]
    assert max(sizes) > 20
    assert max(bodies) < 1 << 19
