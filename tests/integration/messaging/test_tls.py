"""Is RabbitMQ and Postgres' TLS what deploy/compose.tls.yml promises: checked, and the only way in?

Real servers with the files that the containers get, and certificates from the same script.
"""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import text

from hitl.servers.postgres import PrivatePostgres, server_user
from hitl.servers.rabbitmq import PrivateRabbitMQ
from shared.errors import ConfigurationError
from shared.messages import Outgoing
from shared.messaging.address import connection_parameters
from shared.messaging.connection import Broker, declare_all
from shared.storage.database import connect
from shared.storage.migration import migrate
from shared.topology import ITEMS, topology
from tests.conftest import started
from tests.support.amqp_client import until

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "deploy" / "tls" / "make-certificates"


def make_certificates(folder: Path) -> str:
    """Run the script for two servers on 127.0.0.1; what it says."""
    return subprocess.run(
        ["sh", SCRIPT, folder, "127.0.0.1", "127.0.0.1"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


class SecureRabbitMQ(PrivateRabbitMQ):
    """A private node with deploy/rabbitmq/tls.conf, its paths and ports replaced."""

    certificates: Path

    def _write_files(self) -> dict[str, str]:
        environment = super()._write_files()
        path = self.home / "config" / "rabbitmq.conf"
        plain = f"listeners.tcp.1 = 127.0.0.1:{self.ports['amqp']}\n"
        assert plain in path.read_text()
        secure = (ROOT / "deploy" / "rabbitmq" / "tls.conf").read_text()
        secure = secure.replace("/run/hitl/tls", str(self.certificates))
        secure = secure.replace("default = 5671", f"1 = 127.0.0.1:{self.ports['amqp']}")
        secure = "\n".join(line for line in secure.splitlines() if "management" not in line)
        path.write_text(path.read_text().replace(plain, f"{secure}\n"))
        return environment

    def ready(self) -> bool:
        """Does the listener take connections, and does the management API answer?"""
        try:
            socket.create_connection(("127.0.0.1", self.ports["amqp"]), timeout=1).close()
            return self._api_answers()
        except OSError:
            return False


# Another way to the same server, on 127.0.0.2; it says its port.
FORWARDER = """
import asyncio, sys
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def serve(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
async def main():
    server = await asyncio.start_server(serve, "127.0.0.2", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@dataclass
class Secure:
    """Both servers, reachable by TLS; `ca` vouches for them, `stranger` for somebody else."""

    amqp: str
    postgres: str
    ca: Path
    stranger: Path

    def amqp_url(self, ca: Path, host: str = "127.0.0.1") -> str:
        return f"{self.amqp.replace('127.0.0.1', host)}?cacertfile={ca}"

    def database_url(self, ca: Path, host: str = "127.0.0.1") -> str:
        there = self.postgres.replace("127.0.0.1", host)
        return f"{there}?sslmode=verify-full&sslrootcert={ca}"


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    with tempfile.TemporaryDirectory(prefix="hitl-tls-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        make_certificates(home / "tls")
        make_certificates(home / "stranger")
        node = SecureRabbitMQ(home / "rabbitmq", home / "rabbitmq.log", fast=True)
        node.certificates = home / "tls" / "rabbitmq"
        cluster = PrivatePostgres(home / "postgres", home / "postgres.log", fast=True)
        with started(node, cluster):
            speak_tls_only(cluster, home / "tls" / "postgres")
            yield Secure(
                node.amqp_url.replace("amqp://", "amqps://"),
                cluster.database_url,
                home / "tls" / "ca" / "ca.pem",
                home / "stranger" / "ca" / "ca.pem",
            )


def speak_tls_only(cluster: PrivatePostgres, certificates: Path) -> None:
    """The options of the container, by ALTER SYSTEM; then a new start."""
    certificates.parent.chmod(0o711)
    if (user := server_user()) is not None:
        account = pwd.getpwnam(user)
        os.chown(certificates / "key.pem", account.pw_uid, account.pw_gid)
    rules = certificates / "pg_hba.conf"  # where the server's user can read it
    rules.write_text((ROOT / "deploy" / "postgres" / "pg_hba.conf").read_text())
    rules.chmod(0o644)
    connection = psycopg2.connect(cluster.database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        for name, value in (
            ("ssl", "on"),
            ("ssl_min_protocol_version", "TLSv1.2"),
            ("ssl_cert_file", str(certificates / "cert.pem")),
            ("ssl_key_file", str(certificates / "key.pem")),
            ("hba_file", str(rules)),
        ):
            cursor.execute(f"ALTER SYSTEM SET {name} = %s", (value,))
    connection.close()
    cluster.stop()
    cluster.start()
    cluster.wait_ready()


def why_not_ready(amqp_url: str) -> str | None:
    """Why our own connection does not come up; None where it does."""
    broker = Broker(amqp_url, name="test")
    before = broker.problem()
    broker.start()
    try:
        until(lambda: broker.problem() != before, seconds=15, what="an answer")
        return broker.problem()
    finally:
        broker.close()


def test_messages_are_declared_for_and_published_over_checked_tls(secure: Secure) -> None:
    # Given the authority's file in the address / If a program declares and publishes
    url = secure.amqp_url(secure.ca)
    declare_all(url, topology(["spam"], (5,)))
    broker = Broker(url, name="producer")
    broker.start()
    try:
        # I expect the broker to confirm
        broker.publish([Outgoing(exchange=ITEMS, routing_key="spam", body=b"{}", message_id="1")])
    finally:
        broker.close()


def test_a_broker_that_a_strange_authority_vouches_for_is_refused(secure: Secure) -> None:
    # Given an authority that did not sign the broker's certificate / If a program connects / I
    # expect no connection, and the check that failed
    problem = why_not_ready(secure.amqp_url(secure.stranger))
    assert problem is not None and "certificate verify failed: self-signed" in problem


def test_a_broker_under_another_name_is_refused(secure: Secure) -> None:
    # Given the right authority, and an address of this machine that is not in the certificate
    port = secure.amqp.rpartition(":")[2].partition("/")[0]
    forwarder = subprocess.Popen([sys.executable, "-c", FORWARDER, port], stdout=subprocess.PIPE)
    try:
        assert forwarder.stdout is not None
        there = int(forwarder.stdout.readline())
        url = secure.amqp_url(secure.ca, host="127.0.0.2").replace(f":{port}/", f":{there}/")
        # If a program connects there, I expect no connection, and the name that did not match
        problem = why_not_ready(url)
    finally:
        forwarder.kill()
        forwarder.communicate()
    assert problem is not None and "IP address mismatch" in problem


def test_without_tls_the_broker_answers_nobody(secure: Secure) -> None:
    # If a program comes without TLS, I expect no connection
    assert why_not_ready(secure.amqp.replace("amqps://", "amqp://")) is not None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("amqps://h/?cacertfile=/nowhere.pem", "/nowhere.pem"),
        ("amqps://h/?cacertfile=/etc/hostname", "/etc/hostname"),
        ("amqp://h/?cacertfile=/etc/hostname", "amqps"),
    ],
)
def test_a_useless_authority_is_a_mistake_in_the_settings(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        connection_parameters(url, "test")


def test_tables_are_made_over_checked_tls(secure: Secure) -> None:
    # Given the authority's file in the address / If the tables are made / I expect them, and the
    # connection to be encrypted
    url = secure.database_url(secure.ca)
    migrate(url)
    engine = connect(url, pool_size=1)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM event")) == 0
        version = connection.scalar(
            text("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        )
    engine.dispose()
    assert version in ("TLSv1.2", "TLSv1.3")


def test_a_database_that_nobody_vouches_for_is_refused_with_the_reason(secure: Secure) -> None:
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        psycopg2.connect(secure.database_url(secure.stranger))
    # "localhost" is in the certificate; another name for the same machine is not
    psycopg2.connect(secure.database_url(secure.ca, host="localhost")).close()
    another = f"{secure.database_url(secure.ca, host='example.test')}&hostaddr=127.0.0.1"
    with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
        psycopg2.connect(another)


def test_without_tls_the_database_answers_nobody(secure: Secure) -> None:
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(f"{secure.postgres}?sslmode=disable")


def test_certificates_stay_until_they_are_about_to_end(tmp_path: Path) -> None:
    # Given new certificates / I expect keys that nobody but their owner can read
    assert make_certificates(tmp_path).count("made a certificate") == 2
    keys = list(tmp_path.rglob("key.pem"))
    assert len(keys) == 3
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    # If the script runs again, I expect it to leave them
    assert make_certificates(tmp_path) == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pem")} == before
    # And if one has less than 30 days to go, I expect a new one, with a new key, for it alone
    old = tmp_path / "rabbitmq"
    signed = tmp_path / "authority"
    request = subprocess.run(
        ["openssl", "req", "-new", "-key", old / "key.pem", "-subj", "/CN=127.0.0.1"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip
    subprocess.run(
        ["openssl", "x509", "-req", "-days", "29", "-set_serial", "1",
         "-CA", signed / "ca.pem", "-CAkey", signed / "key.pem", "-out", old / "cert.pem"],
        input=request, check=True, capture_output=True,
    )  # fmt: skip
    assert make_certificates(tmp_path).count("made a certificate") == 1
    changed = {path for path in before if path.read_bytes() != before[path]}
    assert changed == {old / "cert.pem", old / "key.pem"}
