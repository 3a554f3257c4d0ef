"""Does each user of RabbitMQ get at what its program needs, and at nothing else?"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from hitl.broker_users import OWNER, USERS
from shared.broker import Broker, declare_all
from shared.conversation import follow_stream
from shared.errors import Overloaded
from shared.live_policy import LivePolicy, encode_policy
from shared.topology import Topology, policy_stream, topology
from tests.conftest import RabbitMQ
from tests.outside import until
from tests.rights import broker_users

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


def test_a_service_without_the_right_to_declare_finds_what_the_owner_declared(
    url_of: Url, drawn: Topology
) -> None:
    # Given the topology, declared by the owner / If the router's user connects with it
    broker = Broker(url_of("router"), name="router", topology=drawn)
    broker.start()
    try:
        # I expect it to be ready
        assert broker.wait_ready(20), broker.problem()
    finally:
        broker.close()


def test_a_service_says_what_is_missing_and_who_makes_it(url_of: Url, drawn: Topology) -> None:
    # Given the topology without one of its queues / If the router's user connects
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete("hitl.log")
    broker = Broker(url_of("router"), name="router", topology=drawn)
    broker.start()
    try:
        # I expect it not to be ready, to name the queue and the command,
        until(lambda: "hitl prepare" in str(broker.problem()), seconds=20)
        assert "no queue 'hitl.log'" in str(broker.problem())
        # and to go on by itself when the owner has declared it
        declare_all(url_of(OWNER), drawn)
        assert broker.wait_ready(30), broker.problem()
    finally:
        broker.close()


def test_the_live_policy_gets_from_the_certifier_to_the_router(
    url_of: Url, drawn: Topology
) -> None:
    # Given the certifier's user and the router's / If the one publishes a policy
    heard: list[bytes] = []
    conversation = follow_stream(policy_stream(), heard.append, "router")
    following = threading.Thread(target=conversation.run, args=(url_of("router"),))
    following.start()
    broker = Broker(url_of("feedback"), name="feedback", topology=drawn)
    broker.start()
    try:
        policy = LivePolicy.model_validate(
            {"version": 1, "issued_at": "2026-01-01T00:00:00Z", "workflows": {}}
        )
        broker.publish([encode_policy(policy)])
        # I expect the other to hear it
        until(lambda: len(heard) == 1, seconds=20)
    finally:
        broker.close()
        conversation.stop()
        following.join()
    # And where the stream is gone and the user may not make it, I expect an error that says so
    with connected(url_of(OWNER)) as connection:
        connection.channel().queue_delete("hitl.policy")
    with pytest.raises(Overloaded, match=r"no queue 'hitl\.policy'"):
        follow_stream(policy_stream(), heard.append, "router").run(url_of("router"))
