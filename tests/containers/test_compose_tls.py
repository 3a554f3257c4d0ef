"""Do RabbitMQ and Postgres in containers speak TLS and nothing else, when asked to?

docker-compose.yml with deploy/compose.tls.yml over it, in the engine of the other tests here.
"""

import json
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError

from tests.containers.conftest import running
from tests.containers.engine import Engine
from tests.containers.stack import Stack
from tests.contract.test_compose import COMPOSE_FILE, ROOT
from tests.support.amqp_client import until

pytestmark = pytest.mark.timeout(3600)

TLS_FILE = ROOT / "deploy" / "compose.tls.yml"


@pytest.fixture(scope="module")
def stack(built: Engine) -> Iterator[Stack]:
    """A stack with TLS."""
    with running(Stack(built, (COMPOSE_FILE, TLS_FILE)), "with TLS") as stack:
        yield stack


@pytest.fixture(scope="module")
def authority(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of the stack's own authority, as somebody outside gets it."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_text(stack.inside("router", "cat", "/run/hitl/ca/ca.pem") + "\n")
    return path


@contextmanager
def channel(stack: Stack, user: str, context: ssl.SSLContext | None) -> Iterator[BlockingChannel]:
    """A program outside, on the published port."""
    parameters = pika.ConnectionParameters(
        host="127.0.0.1",
        port=stack.ports["AMQP"],
        virtual_host="hitl",
        credentials=pika.PlainCredentials(user, stack.password(user)),
        ssl_options=context and pika.SSLOptions(context, "localhost"),
    )
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        connection.close()


def test_an_item_passes_through_it(stack: Stack, authority: Path) -> None:
    # Given a producer and a consumer that check the broker's certificate / If one sends a text / I
    # expect the other to get a decision.
    context = ssl.create_default_context(cafile=str(authority))
    item = {"id": str(uuid.uuid4()), "text": "A wonderful film, moving from beginning to end."}
    with channel(stack, "producer", context) as producer:
        producer.confirm_delivery()
        producer.basic_publish("hitl.items", "sentiment", json.dumps(item).encode())
    got: list[bytes] = []
    with channel(stack, "downstream", context) as consumer:

        def decided() -> bool:
            _, _, body = consumer.basic_get("hitl.sentiment.accepted", auto_ack=True)
            got.extend([body] if body else [])
            return bool(got)

        until(decided, what="a decision", seconds=60)
    assert json.loads(got[0])["item"]["id"] == item["id"]


def test_whoever_does_not_speak_tls_or_trusts_another_is_refused(stack: Stack) -> None:
    # If a program speaks plain AMQP, or trusts the world's authorities only / I expect no
    # connection, nor on the port of plain AMQP; and none to Postgres without TLS.
    with pytest.raises(AMQPConnectionError), channel(stack, "producer", None):
        pass
    others = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError), channel(stack, "producer", others):
        pass
    knock = "import socket; socket.create_connection(('rabbitmq', 5672))"
    refused = stack.compose("exec", "-T", "router", "python3", "-c", knock, ok=False)
    assert "ConnectionRefusedError" in refused.stderr
    plain = stack.compose(
        "exec", "-T", "postgres", "psql", "host=postgres user=hitl sslmode=disable", ok=False
    )
    assert "no encryption" in plain.stderr


def test_every_program_of_ours_came_to_postgres_by_tls(stack: Stack) -> None:
    # Given a running stack / If I ask Postgres who is connected over the network / I expect all of
    # them by TLS, the programs that keep rows and the exporter among them.
    query = (
        "SELECT usename, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        " WHERE client_addr IS NOT NULL GROUP BY usename"
    )
    rows = stack.inside("postgres", "psql", "-U", "hitl", "-tA", "-c", query).splitlines()
    assert {"hitl_review_ui|t", "hitl_logger|t", "hitl_feedback|t"} <= set(rows)
    assert not [row for row in rows if row.endswith("|f")]
