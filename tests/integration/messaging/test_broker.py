"""Does what was published arrive, whatever happens to the connection or to the broker itself?"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import amqp
import pytest

from hitl.access.broker_users import OWNER
from hitl.servers.installed import rabbitmq_program
from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.clock import utc_now
from shared.errors import Overloaded
from shared.events.envelope import encode
from shared.events.item_message import item_message
from shared.messages import Delivery, Outgoing
from shared.messaging.connection import Broker, declare_all
from shared.messaging.consumer import Consumer
from shared.service.settings import MAX_BODY_BYTES
from shared.topology import inference_queue, topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import outsider, until
from tests.support.example_events import EXAMPLES
from tests.support.service_workers import answers

TOPOLOGY = topology(["sentiment"], (1,))
INFERENCE = inference_queue("sentiment")


def items(first: int, count: int) -> list[Outgoing]:
    return [
        Outgoing("hitl.items", "sentiment", b'{"text": "x"}', message_id=str(number))
        for number in range(first, first + count)
    ]


@pytest.fixture
def broker(amqp_url: str) -> Iterator[Broker]:
    one = Broker(amqp_url, name="test", topology=TOPOLOGY)
    one.start()
    assert one.wait_ready(20)
    yield one
    one.close()


def rabbitmqctl(node: PrivateRabbitMQ, *command: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(node.home / "user"),
        "LANG": "C.UTF-8",
        "ERL_EPMD_PORT": str(node.ports["epmd"]),
        "RABBITMQ_NODENAME": (node.home / "node-name").read_text(),
        "RABBITMQ_CONF_ENV_FILE": str(node.home / "config" / "environment"),
    }
    subprocess.run(
        [str(rabbitmq_program("rabbitmqctl")), *command],
        env=environment, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def reconnect(broker: Broker) -> None:
    """An unknown exchange ends the channel, and with it the connection."""
    generation = broker.generation
    with pytest.raises(Overloaded):
        broker.publish([Outgoing("no-such-exchange", "k", b"", "m0")], timeout_seconds=0.5)
    until(lambda: broker.generation > generation and broker.problem() is None, seconds=10)


def test_publish_returns_when_every_message_is_confirmed(broker: Broker, amqp_url: str) -> None:
    broker.publish(items(0, 500))
    with outsider(amqp_url) as program:
        arrived = program.take("hitl.sentiment.inference", 500)
    assert [message.message_id for message in arrived] == [str(number) for number in range(500)]


def test_messages_that_no_queue_takes_are_sent_again_until_one_does(
    broker: Broker, amqp_url: str
) -> None:
    """Somebody deleted the queue; `mandatory` brings the message back, and it goes out again."""
    message = Outgoing("", "a-queue-of-later", b"{}", message_id="m1")
    with outsider(amqp_url) as program:
        before = answers("returned")
        sending = threading.Thread(target=broker.publish, args=([message],))
        sending.start()
        until(lambda: answers("returned") > before + 1, what="a second try")
        assert sending.is_alive(), "nothing was taken, so nothing may be said to be"
        program.declare("a-queue-of-later", **{"x-queue-type": "quorum"})
        sending.join(20)
        assert not sending.is_alive()
        assert [got.message_id for got in program.take("a-queue-of-later", 1)] == ["m1"]


def test_a_refused_message_outlives_the_connection_that_refused_it(
    broker: Broker, amqp_url: str
) -> None:
    message = Outgoing("", "a-queue-of-later", b"{}", message_id="m1")
    before = answers("returned")
    sending = threading.Thread(target=broker.publish, args=([message],))
    sending.start()
    until(lambda: answers("returned") > before)  # now it waits for its next try
    reconnect(broker)
    with outsider(amqp_url) as program:
        program.declare("a-queue-of-later", **{"x-queue-type": "quorum"})
        sending.join(20)
        assert not sending.is_alive()
        # Once it is confirmed, no later connection sends it again.
        reconnect(broker)
        broker.publish([Outgoing("", "a-queue-of-later", b"{}", message_id="m3")])
        arrived = program.take("a-queue-of-later", 2)
        assert [got.message_id for got in arrived] == ["m1", "m3"]


def test_publish_says_what_is_wrong_when_the_time_is_up(broker: Broker) -> None:
    message = Outgoing("", "no-such-queue", b"{}", message_id="m1")
    with pytest.raises(Overloaded, match="1 of 1 messages unconfirmed"):
        broker.publish([message], timeout_seconds=0.5)


def test_what_was_given_up_without_a_connection_is_not_kept_for_later() -> None:
    """Somebody who tries again for a night would fill the memory, and then the broker."""
    # Given no broker
    one = Broker("amqp://127.0.0.1:1/", name="test", topology=TOPOLOGY)
    one.start()
    try:
        # If somebody publishes and adds queues again and again
        for _ in range(3):
            with pytest.raises(Overloaded):
                one.publish(items(0, 1), timeout_seconds=0.01)
            with pytest.raises(Overloaded):
                one.add(TOPOLOGY, timeout_seconds=0.01)
        # I expect none of it to wait
        assert not one._io._calls
    finally:
        one.close()


def test_a_cut_connection_is_made_again_and_nothing_is_lost(
    broker: Broker, amqp_url: str, rabbitmq: RabbitMQ
) -> None:
    sent = 0
    cuts = 0
    ours: set[str] = set()
    deadline = time.monotonic() + 90
    while cuts < 2 and time.monotonic() < deadline:
        broker.publish(items(sent, 200))
        sent += 200
        for connection in rabbitmq.api.get("/connections").json():
            named = connection.get("client_properties", {}).get("connection_name") == "hitl-test"
            if named and connection["name"] not in ours:
                ours.add(connection["name"])
                rabbitmq.api.delete(f"/connections/{connection['name']}")
                cuts += 1
    assert cuts == 2, "the broker closed our connection twice"
    broker.publish(items(sent, 1))
    with outsider(amqp_url) as program:
        arrived = program.drain("hitl.sentiment.inference")
    assert {message.message_id for message in arrived} == {str(n) for n in range(sent + 1)}


def test_a_channel_that_the_broker_closes_is_noticed_at_once(broker: Broker, amqp_url: str) -> None:
    """An unknown exchange ends the channel (404). It must not look alive for minutes."""
    reconnect(broker)
    broker.publish(items(0, 1))
    with outsider(amqp_url) as program:
        program.take("hitl.sentiment.inference", 1)


def test_a_closed_channel_of_the_consumer_is_noticed_at_once(amqp_url: str) -> None:
    """So does an ack of what was never delivered (406), on the other channel."""
    taken: list[Delivery] = []
    consumer = Consumer(["hitl.router"], prefetch=10, take=taken.extend)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=consumer)
    one.start()
    try:
        assert one.wait_ready(20)
        generation = one.generation
        consumer._window.delivered([99])
        consumer._window.resolve_tag(99)
        with outsider(amqp_url) as program:
            publish = partial(program.publish, exchange="hitl.events", routing_key="item.scored.x")
            publish("first")  # its turn acks tag 99 as well
            until(lambda: one.generation > generation and one.problem() is None, seconds=10)
            publish("second")
            until(lambda: [d.body for d in taken if d.generation > generation] != [])
    finally:
        one.close()


def test_a_consumer_that_is_refused_says_why_and_asks_less_and_less_often(
    amqp_url: str, rabbitmq: RabbitMQ
) -> None:
    def allow(**rights: str) -> None:
        vhost = amqp_url.rpartition("/")[2]
        rabbitmq.api.put(f"/permissions/{vhost}/{OWNER}", json=rights).raise_for_status()

    # Given a user who may not read the queue
    declare_all(amqp_url, TOPOLOGY)
    allow(configure="^$", write=".*", read="^$")
    taken: list[Delivery] = []
    consumer = Consumer(["hitl.router"], prefetch=10, take=taken.extend)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=consumer)
    # If a consumer comes all the same
    one.start()
    try:
        until(lambda: one.generation >= 2)
        time.sleep(3)
        # I expect it to come back a few times, not hundreds, and to pass on what the broker says
        assert one.generation < 10
        until(lambda: "ACCESS_REFUSED" in (one.problem() or ""))
        # When the user may, I expect it to take what is there
        allow(configure=".*", write=".*", read=".*")
        with outsider(amqp_url) as program:
            program.publish("{}", exchange="hitl.events", routing_key="item.scored.sentiment")
        until(lambda: len(taken) == 1)
    finally:
        one.close()


def test_a_queue_where_nothing_comes_holds_back_no_other(amqp_url: str) -> None:
    # Given a consumer of two queues that begins carefully, because bytes count
    arrived: list[Delivery] = []
    queues = [inference_queue("sentiment"), "hitl.router"]
    taker = Consumer(queues, prefetch=300, take=arrived.extend, max_bytes=1 << 25)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=taker)
    one.start()
    try:
        assert one.wait_ready(20)
        # If one of them has many small messages, and the other none
        one.publish([Outgoing("", "hitl.router", b"{}", f"m{number}") for number in range(400)])
        until(lambda: len(arrived) == 1)
        one.publish_then_ack([(arrived[0], ())])
        # I expect as many of them to be held as may be
        until(lambda: len(arrived) >= 300, seconds=10)
    finally:
        one.close()


def test_what_was_consumed_by_before_is_forgotten(amqp_url: str) -> None:
    """A consumer is another one for the broker after each pause, and whenever it asks for more or
    fewer messages at a time."""
    # Given a consumer
    taker = Consumer([inference_queue("sentiment")], prefetch=10, take=lambda _: None)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=taker)
    one.start()
    try:
        assert one.wait_ready(20)
        # If it pauses and goes on again and again
        for _ in range(3):
            one.pause()
            until(lambda: taker.quiet)
            one.resume()
            until(lambda: not taker.quiet)
        # I expect only the last one to be remembered
        until(lambda: len(taker._subscriptions) == 1)
        channel = taker._channel
        assert channel is not None
        assert (len(taker._queues_by_tag), len(channel.consumer_tags)) == (1, 1)
    finally:
        one.close()


def test_an_error_of_ours_gives_back_what_the_connection_held(amqp_url: str) -> None:
    # Given a delivery that is not settled
    arrived: list[Delivery] = []
    taker = Consumer([inference_queue("sentiment")], prefetch=10, take=arrived.extend)
    one = Broker(amqp_url, name="test", topology=TOPOLOGY, consumer=taker)
    one.start()
    try:
        assert one.wait_ready(20)
        with outsider(amqp_url) as program:
            program.publish("{}")
        until(lambda: len(arrived) == 1)

        # If a callback on the connection's thread raises what nobody expects
        def wrong() -> None:
            raise ZeroDivisionError

        one._io.call(wrong)
        # I expect the delivery to come again at once, on the next connection
        until(lambda: len(arrived) == 2, seconds=10)
        assert [each.generation for each in arrived] == [1, 2]
    finally:
        one.close()


def test_what_the_broker_holds_differently_is_named(amqp_url: str) -> None:
    with outsider(amqp_url) as program:
        program.declare("hitl.router", **{"x-queue-type": "classic"})
    with pytest.raises(Overloaded, match=r"hitl\.router"):
        declare_all(amqp_url, TOPOLOGY, timeout_seconds=2)


def test_a_killed_broker_loses_nothing_that_was_confirmed(node: PrivateRabbitMQ) -> None:
    broker = Broker(node.amqp_url, name="test", topology=TOPOLOGY)
    broker.start()
    assert broker.wait_ready(20)
    confirmed: list[int] = []
    stop = threading.Event()

    def produce() -> None:
        while not stop.is_set():
            first = len(confirmed)
            broker.publish(items(first, 50), timeout_seconds=90)
            confirmed.extend(range(first, first + 50))

    producing = threading.Thread(target=produce)
    producing.start()
    try:
        until(lambda: len(confirmed) >= 1_000)
        assert node.pid is not None
        os.kill(node.pid, signal.SIGKILL)
        until(lambda: broker.problem() is not None)
        node.stop()
        node.start()
        node.wait_ready()
        before = len(confirmed)
        until(lambda: len(confirmed) >= before + 1_000, seconds=60)
    finally:
        stop.set()
        producing.join(100)
        broker.close()
    with outsider(node.amqp_url) as program:
        arrived = {message.message_id for message in program.drain("hitl.sentiment.inference")}
    assert {str(number) for number in confirmed} <= arrived


def test_a_blocked_connection_waits_and_says_so(node: PrivateRabbitMQ) -> None:
    broker = Broker(node.amqp_url, name="test", topology=TOPOLOGY)
    broker.start()
    assert broker.wait_ready(20)
    try:
        rabbitmqctl(node, "set_vm_memory_high_watermark", "absolute", "1MB")
        with pytest.raises(Overloaded):  # RabbitMQ blocks whoever publishes during the alarm
            broker.publish(items(0, 1), timeout_seconds=3)
        until(lambda: "memory" in (broker.problem() or ""))
        sending = threading.Thread(target=broker.publish, args=(items(1, 100),))
        sending.start()
        time.sleep(0.5)
        assert sending.is_alive()
        rabbitmqctl(node, "set_vm_memory_high_watermark", "absolute", "1GB")
        sending.join(20)
        assert not sending.is_alive()
        assert broker.problem() is None
    finally:
        broker.close()


RABBITMQ_TAKES = 16 * 1_024 * 1_024  # since 4.0


def test_a_message_above_the_brokers_limit_is_its_producers_error(
    amqp_url: str, rabbitmq: RabbitMQ
) -> None:
    declare_all(amqp_url, TOPOLOGY)
    older = rabbitmq.api.get("/overview").json()["rabbitmq_version"] < "4"
    # Given a producer that sends more than RabbitMQ takes (3.10 takes it: 128 MiB)
    with suppress(amqp.ConnectionError), outsider(amqp_url) as program:
        if older:
            program.publish(b"x" * (RABBITMQ_TAKES + 1))
        else:
            # I expect it to be told so
            with pytest.raises(amqp.PreconditionFailed, match="larger than configured max size"):
                program.publish(b"x" * (RABBITMQ_TAKES + 1))
    # and no queue to have it, which takes the next
    with outsider(amqp_url) as program:
        assert program.ready(INFERENCE) == older
        program.publish("{}")
        until(lambda: program.ready(INFERENCE) == 1 + older)


def test_the_largest_event_of_ours_is_below_the_brokers_limit(amqp_url: str) -> None:
    # Given the item of the most bytes that may be allowed, whose values take the most when they are
    # written again
    start, end = b'{"id": "a", "text": "x", "metadata": {"n": [', b"1]}}"
    values = b"1e15," * ((MAX_BODY_BYTES - len(start) - len(end)) // 5)
    _, item = item_message(
        start + values + end, "sentiment", max_body_bytes=MAX_BODY_BYTES, clock=utc_now
    )
    events = [
        each.model_copy(update={"item": item})
        for each in EXAMPLES
        if "item" in type(each).model_fields
    ]
    assert len(events) >= 4
    # If the events about it are published, I expect the broker to take each
    broker = Broker(amqp_url, name="test", topology=TOPOLOGY)
    broker.start()
    try:
        assert broker.wait_ready(20)
        for event in events:
            message = encode(event, source="test", traceparent="")
            assert 15_900_000 < len(message.body) < RABBITMQ_TAKES
            broker.publish([message])
    finally:
        broker.close()
