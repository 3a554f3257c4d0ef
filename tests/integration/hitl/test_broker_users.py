"""Does each user of RabbitMQ get at what its program needs, and at nothing else?"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from hitl.access.broker_users import OWNER, USERS
from hitl.recovery.broker_rights import give_back
from shared.errors import Overloaded
from shared.events.live_policy import LivePolicy, encode_policy
from shared.messaging.connection import Broker, declare_all
from shared.messaging.session import follow_stream
from shared.service.metrics import RIGHTS_LOST
from shared.topology import Topology, policy_stream, topology
from tests.conftest import RabbitMQ
from tests.support.amqp_client import until
from tests.support.service_users import broker_users

DELAYS = (5,)
ITEM, EVENT, NAMED, DEFAULT = "hitl.items", "hitl.events", "hitl.queues", ""
KINDS = ("scored", "explained", "shadow_scored", "accepted", "review_requested", "reviewed",
         "failed")  # fmt: skip

# Written down once more, by hand: who may send what, and who may read what. All else is refused.
MAY_SEND = {
    "inference": {
        *((EVENT, f"item.{kind}.spam") for kind in ("scored", "explained", "shadow_scored")),
        (EVENT, "item.failed.spam"),
        (NAMED, "hitl.spam.inference.dlq"),
        (NAMED, "hitl.spam.inference.retry.5s"),
    },
    "router": {
        (EVENT, "item.accepted.spam"),
        (EVENT, "item.review_requested.spam"),
        (EVENT, "item.failed.spam"),
        (NAMED, "hitl.router.dlq"),
        (NAMED, "hitl.router.retry.5s"),
    },
    "review_ui": {
        (ITEM, "spam"),
        (EVENT, "item.reviewed.spam"),
        (EVENT, "item.failed.spam"),
        (NAMED, "hitl.spam.review.dlq"),
        (NAMED, "hitl.spam.review.retry.5s"),
    },
    "logger": {
        (EVENT, "item.failed.spam"),
        (NAMED, "hitl.log.dlq"),
        (NAMED, "hitl.log.retry.5s"),
    },
    "feedback": {(NAMED, "hitl.policy")},
    "producer": {(ITEM, "spam")},
}
MAY_READ = {
    "inference": {"hitl.spam.inference", "hitl.spam.highlights"},
    "router": {"hitl.router", "hitl.policy"},
    "review_ui": {"hitl.spam.review"},
    "logger": {"hitl.log"},
    "downstream": {"hitl.spam.accepted"},
}


@pytest.fixture
def drawn() -> Topology:
    return topology(["spam"], DELAYS)


Url = Callable[[str], str]


@pytest.fixture
def url_of(rabbitmq: RabbitMQ, amqp_url: str, drawn: Topology) -> Url:
    """The test's own virtual host for each user, with its rights there, declared by the owner."""
    urls = broker_users(rabbitmq, amqp_url)
    declare_all(amqp_url, drawn)
    return urls.__getitem__


@contextmanager
def connected(url: str) -> Iterator[pika.BlockingConnection]:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection


def refused(connection: pika.BlockingConnection, act: Callable[[BlockingChannel], object]) -> bool:
    """Whether the broker says ACCESS_REFUSED to this, on a channel of its own."""
    channel = connection.channel()
    try:
        act(channel)
        channel.close()
    except ChannelClosedByBroker as closed:
        assert closed.reply_code == 403, closed
        return True
    return False


def sends(exchange: str, key: str) -> Callable[[BlockingChannel], object]:
    def act(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        try:
            channel.basic_publish(exchange, key, b"{}", mandatory=True)
        except UnroutableError:
            pytest.fail(f"{exchange} {key} leads nowhere")

    return act


def test_rights_come_with_the_exchanges_that_they_are_about(
    rabbitmq: RabbitMQ, amqp_url: str, drawn: Topology
) -> None:
    # Given a virtual host in which nobody has declared anything / If the users are imported
    broker_users(rabbitmq, amqp_url)
    # I expect every routing key that a user may send with, also where they are kept with exchanges
    vhost = amqp_url.rpartition("/")[2]
    kept = rabbitmq.api.get(f"/vhosts/{vhost}/topic-permissions").raise_for_status().json()
    wanted = {(name, exchange, key) for name in USERS for exchange, key in USERS[name].keys.items()}
    assert {(one["user"], one["exchange"], one["write"]) for one in kept} == wanted
    # and what comes before anything else is declared to be set aside, not lost;
    with connected(f"{rabbitmq.server.url_of('producer').rpartition('/')[0]}/{vhost}") as early:
        sends(ITEM, "spam")(early.channel())
    with connected(amqp_url) as owner:
        assert owner.channel().basic_get("hitl.unroutable", auto_ack=True)[2] == b"{}"
    # the services' own declarations agree with it
    declare_all(amqp_url, drawn)


@pytest.mark.parametrize("user", [user for user in USERS if user != OWNER])
def test_a_user_may_do_what_its_program_does_and_nothing_else(
    user: str, url_of: Url, drawn: Topology
) -> None:
    # Given all that can be sent, and every queue
    keys = [(ITEM, "spam"), *((EVENT, f"item.{kind}.spam") for kind in KINDS)]
    aside = [b.routing_key for b in drawn.bindings if b.exchange == NAMED]
    keys += [(NAMED, key) for key in aside]
    keys += [(DEFAULT, "hitl.spam.accepted"), ("hitl.unroutable", "")]
    queues = [queue.name for queue in (*drawn.queues, *drawn.streams)]
    with connected(url_of(user)) as connection:
        # If the user tries each, I expect the broker to refuse all but what is in the table
        sent = {key for key in keys if not refused(connection, sends(*key))}
        assert sent == MAY_SEND.get(user, set())

        def reads(queue: str) -> Callable[[BlockingChannel], object]:
            def act(channel: BlockingChannel) -> None:
                channel.basic_qos(prefetch_count=1)
                tag = channel.basic_consume(queue, lambda *_: None)
                channel.basic_cancel(tag)

            return act

        read = {queue for queue in queues if not refused(connection, reads(queue))}
        assert read == MAY_READ.get(user, set())
        # and nobody to make, empty, bind or delete anything
        for act in (
            lambda channel: channel.queue_declare("hitl.new", durable=True),
            lambda channel: channel.queue_declare("", exclusive=True),
            lambda channel: channel.exchange_declare("hitl.new", "topic"),
            lambda channel: channel.queue_bind("hitl.log", EVENT, "item.#"),
            lambda channel: channel.queue_delete(queues[0]),
            lambda channel: channel.exchange_delete(EVENT),
        ):
            assert refused(connection, act)


@contextmanager
def service(user: str, url_of: Url, drawn: Topology) -> Iterator[Broker]:
    """The connection of a service that has a user of its own."""
    broker = Broker(url_of(user), name=user, topology=drawn, rights=USERS[user])
    broker.start()
    try:
        yield broker
    finally:
        broker.close()


SERVICES = ("inference", "router", "review_ui", "logger", "feedback")


@pytest.mark.parametrize("user", SERVICES)
def test_a_service_without_the_right_to_declare_finds_what_the_owner_declared(
    user: str, url_of: Url, drawn: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    # Given the topology, declared by the owner / If a service's user connects with it
    with service(user, url_of, drawn) as broker:
        # I expect it to be ready, and to have seen all that it looked for, the stream as well
        assert broker.wait_ready(20), broker.problem()
    said = {record.message for record in caplog.records}
    assert not said & {"no right to check whether it exists", "a stream is not available"}


@pytest.mark.parametrize(
    ("user", "queue"),
    [
        # what it takes from, where it puts aside, and whom its messages must reach
        ("inference", "hitl.spam.inference"),
        ("inference", "hitl.spam.inference.dlq"),
        ("inference", "hitl.router"),
        ("router", "hitl.router"),
        ("router", "hitl.router.retry.5s"),
        ("router", "hitl.spam.accepted"),
        ("review_ui", "hitl.spam.review"),
        ("review_ui", "hitl.log"),
        ("logger", "hitl.log"),
        ("logger", "hitl.log.dlq"),
    ],
)
def test_a_service_says_what_is_missing_and_who_makes_it(
    user: str, queue: str, url_of: Url, drawn: Topology
) -> None:
    # Given the topology without one of its queues / If its user connects
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete(queue)
    with service(user, url_of, drawn) as broker:
        # I expect it not to be ready, to name the queue and the command,
        until(lambda: "hitl prepare" in str(broker.problem()), seconds=20)
        assert f"no queue '{queue}'" in str(broker.problem())
        # and to go on by itself when the owner has declared it
        declare_all(url_of(OWNER), drawn)
        assert broker.wait_ready(30), broker.problem()


def test_what_is_nothing_to_a_service_does_not_stop_it(url_of: Url, drawn: Topology) -> None:
    # Given the topology without another's queue / If the logger's user connects
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete("hitl.spam.inference")
    with service("logger", url_of, drawn) as broker:
        # I expect it to work
        assert broker.wait_ready(20), broker.problem()


def test_older_rights_do_not_stop_a_service(
    rabbitmq: RabbitMQ, url_of: Url, drawn: Topology
) -> None:
    # Given the rights of an earlier release, by which a service may not ask about every queue
    vhost = url_of("router").rpartition("/")[2]
    older = {"configure": "^$", "read": r"^hitl\.(router|policy)$",
             "write": r"^(hitl\.events|hitl\.queues)$"}  # fmt: skip
    rabbitmq.api.put(f"/permissions/{vhost}/router", json=older).raise_for_status()
    # If it connects / I expect it to work; and still to see that what it takes from is missing
    with service("router", url_of, drawn) as broker:
        assert broker.wait_ready(20), broker.problem()
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete("hitl.router")
    with service("router", url_of, drawn) as broker:
        until(lambda: "no queue 'hitl.router'" in str(broker.problem()), seconds=20)


def made_anew(rabbitmq: RabbitMQ, url_of: Url, drawn: Topology, exchange: str) -> None:
    """An exchange that somebody deleted, declared again by the owner. RabbitMQ 4.3 has then
    forgotten the routing keys; with older ones they are taken away by hand."""
    with connected(url_of(OWNER)) as connection:
        connection.channel().exchange_delete(exchange)
    declare_all(url_of(OWNER), drawn)
    vhost = url_of(OWNER).rpartition("/")[2]
    kept = rabbitmq.api.get(f"/vhosts/{vhost}/topic-permissions").raise_for_status().json()
    for user in {one["user"] for one in kept}:
        rabbitmq.api.delete(f"/topic-permissions/{vhost}/{user}").raise_for_status()
    others = [one for one in kept if one["exchange"] != exchange]
    rabbitmq.api.post("/definitions", json={"topic_permissions": others}).raise_for_status()


@pytest.mark.parametrize(
    ("user", "exchange"),
    [
        *((user, EVENT) for user in ("inference", "router", "review_ui", "logger")),
        *((user, NAMED) for user in SERVICES),
        ("review_ui", ITEM),
    ],
)
def test_a_service_does_not_work_while_it_could_send_what_it_likes(
    user: str, exchange: str, rabbitmq: RabbitMQ, url_of: Url, drawn: Topology
) -> None:
    # Given an exchange that was deleted and made anew, so that its users' routing keys are gone
    made_anew(rabbitmq, url_of, drawn, exchange)
    lost = RIGHTS_LOST.labels(exchange)._value
    with service(user, url_of, drawn) as broker:
        # If a service connects / I expect it not to be ready, to say so, to measure it,
        until(lambda: f"anything to {exchange}" in str(broker.problem()), seconds=20)
        assert "hitl prepare" in str(broker.problem())
        assert lost.get() == 1
        # and to go on by itself, once the owner has given the keys back
        vhost_url = url_of(OWNER)
        assert user in give_back(rabbitmq.api_url, vhost_url)
        assert broker.wait_ready(30), broker.problem()
        assert lost.get() == 0
    assert give_back(rabbitmq.api_url, vhost_url) == []
    # What it tried with went nowhere
    with connected(url_of(OWNER)) as connection:
        for queue in drawn.queues:
            declared = connection.channel().queue_declare(queue.name, passive=True)
            assert declared.method.message_count == 0, queue.name


def test_a_service_notices_lost_rights_while_it_works(
    rabbitmq: RabbitMQ, url_of: Url, drawn: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a service that has nothing to send, and looks after its rights every second
    monkeypatch.setattr("shared.messaging.connection.RIGHTS_SECONDS", 1.0)
    with service("logger", url_of, drawn) as broker:
        assert broker.wait_ready(20), broker.problem()
        # If an exchange is made anew / I expect it to notice,
        made_anew(rabbitmq, url_of, drawn, EVENT)
        until(lambda: f"anything to {EVENT}" in str(broker.problem()), seconds=20)
        give_back(rabbitmq.api_url, url_of(OWNER))
        assert broker.wait_ready(30), broker.problem()
        # and to stay well for several looks
        generation = broker.generation
        time.sleep(3)
        assert broker.problem() is None
        assert broker.generation == generation


def test_what_somebody_narrowed_stays_narrow(
    rabbitmq: RabbitMQ, url_of: Url, drawn: Topology
) -> None:
    # Given a producer that its owner has limited to one workflow / If lost keys are given back
    vhost = url_of(OWNER).rpartition("/")[2]
    narrow = {"exchange": ITEM, "write": "^spam$", "read": "^$"}
    path = f"/topic-permissions/{vhost}/producer"
    rabbitmq.api.put(path, json=narrow).raise_for_status()
    made_anew(rabbitmq, url_of, drawn, EVENT)
    assert "producer" not in give_back(rabbitmq.api_url, url_of(OWNER))
    # I expect it to be as narrow as before
    (kept,) = rabbitmq.api.get(path).raise_for_status().json()
    assert kept["write"] == "^spam$"


def test_the_live_policy_gets_from_the_certifier_to_the_router(
    url_of: Url, drawn: Topology
) -> None:
    # Given the certifier's user and the router's / If the one publishes a policy
    heard: list[bytes] = []
    session = follow_stream(policy_stream(), heard.append, "router")
    following = threading.Thread(target=session.run, args=(url_of("router"),))
    following.start()
    try:
        policy = LivePolicy.model_validate(
            {"version": 1, "issued_at": "2026-01-01T00:00:00Z", "workflows": {}}
        )
        with service("feedback", url_of, drawn) as broker:
            broker.publish([encode_policy(policy)])
        # I expect the other to hear it
        until(lambda: len(heard) == 1, seconds=20)
    finally:
        session.stop()
        following.join()
    # And where the stream is gone and the user may not make it, I expect an error that says so
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete("hitl.policy")
    with pytest.raises(Overloaded, match=r"no queue 'hitl\.policy'"):
        follow_stream(policy_stream(), heard.append, "router").run(url_of("router"))


def test_the_stream_of_policies_keeps_what_it_may_and_no_more(rabbitmq: RabbitMQ) -> None:
    # Given the stream in the virtual host of a new node / If more is written than one segment holds
    with connected(rabbitmq.amqp_url) as connection:
        channel = connection.channel()
        stream = policy_stream()
        channel.queue_declare(stream.name, durable=True, arguments=dict(stream.arguments))
        try:
            channel.confirm_delivery()
            for _ in range(12):
                channel.basic_publish("", stream.name, b"x" * 1_000_000)
            # I expect a second segment: the oldest can go when all have reached the limit
            segments = (rabbitmq.server.home / "data").rglob("stream/*policy*/*.segment")
            sizes = sorted(segment.stat().st_size for segment in segments)
            assert len(sizes) == 2, sizes
            assert sizes[-1] <= 11_500_000
        finally:
            channel.queue_delete(stream.name)
