"""Runs a private RabbitMQ node under one folder, unseen by and blind to any other.

Own cookie, node name, epmd and ports, all on 127.0.0.1 (RabbitMQ: "Configuration", "Networking",
"Schema Definition Export and Import").
"""

import base64
import hmac
import http.client
import json
import os
import secrets
import shutil
import socket
from pathlib import Path

from hitl.access.broker_users import OWNER, USERS, VHOST, definitions
from hitl.servers.home import kept_secret
from hitl.servers.installed import rabbitmq_program, rabbitmq_version
from hitl.servers.ports import last_or_free_port
from hitl.servers.private import STOP_SECONDS, PrivateServer, ServerError
from hitl.servers.processes import Child, write_private

# Logged by a node that needs a feature which the RabbitMQ that wrote the data did not have.
TOO_OLD = "disabled_required_feature_flag"
UPGRADES = "docs/operate/upgrades.md, The servers"
PORT_NAMES = ("amqp", "api", "metrics", "distribution", "epmd")


class PrivateRabbitMQ(PrivateServer):
    """A node and its epmd; with `fast` the node is killed instead of stopped."""

    title = "RabbitMQ"
    fatal = (TOO_OLD,)

    def __init__(self, home: Path, log: Path, *, fast: bool = False) -> None:
        super().__init__(home, log, fast=fast)
        self.stop_seconds = 0.0 if fast else STOP_SECONDS

    @property
    def amqp_url(self) -> str:
        """The owner's address, with the password."""
        return self.url_of(OWNER)

    def url_of(self, user: str) -> str:
        """The address for one of `hitl.access.broker_users`, with the password."""
        return f"amqp://{user}:{self.password_of(user)}@127.0.0.1:{self.ports['amqp']}/{VHOST}"

    def password_of(self, user: str) -> str:
        """The owner's is random; the others are derived from it and do not reveal it."""
        if user == OWNER:
            return self.password
        return hmac.new(self.password.encode(), user.encode(), "sha256").hexdigest()

    @property
    def api_url(self) -> str:
        """The management API, with the password."""
        return f"http://{OWNER}:{self.password}@127.0.0.1:{self.ports['api']}/api"

    @property
    def metrics_url(self) -> str:
        """The address for Prometheus, of metrics with the label `queue`."""
        return f"http://127.0.0.1:{self.ports['metrics']}/metrics"

    def start(self) -> None:
        """Start epmd and the node and return at once.

        Raises:
            ServerError: RabbitMQ is not installed, or a newer one wrote the data.
        """
        server, epmd = rabbitmq_program("rabbitmq-server"), shutil.which("epmd")
        if server is None or epmd is None:
            raise ServerError("RabbitMQ is not installed (no rabbitmq-server or no epmd)")
        self.home.mkdir(parents=True, exist_ok=True)
        self.home.chmod(0o700)  # texts of people: the node itself writes files that all may read
        self._refuse_newer_data(server)
        self._choose_ports()
        env = self._write_files()
        run = self.home / "run"
        epmd_argv = [epmd, "-address", "127.0.0.1", "-port", str(self.ports["epmd"])]
        # Our own epmd, as our child: the one that Erlang would start outlives the node.
        self.processes = [
            Child("epmd", epmd_argv, env, self.log, run / "epmd.json"),
            Child("rabbitmq", [str(server)], env, self.log, run / "rabbitmq.json", cwd=self.home),
        ]
        for process in self.processes:
            process.start()

    def ready(self) -> bool:
        """Does the node speak AMQP 0-9-1, and does its management API answer?"""
        try:
            with socket.create_connection(("127.0.0.1", self.ports["amqp"]), timeout=1) as client:
                client.sendall(b"AMQP\x00\x00\x09\x01")
                # Connection.Start comes in a method frame: type 1.
                if client.recv(1) != b"\x01":
                    return False
            return self._api_answers()
        except (OSError, http.client.HTTPException):
            return False

    def _refuse_newer_data(self, server: Path) -> None:
        """Raises ServerError if a newer RabbitMQ wrote the data: an older one would start, and find
        nothing there (3.10 on data of 4.3)."""
        last = self.home / "version"
        known = rabbitmq_version(server) if last.exists() else None
        if known is not None and _series(known) < _series(last.read_text()):
            raise ServerError(
                f"the data in {self.home} were written by RabbitMQ {last.read_text()}, and this is"
                f" {known}, which cannot read them. Nothing was changed. Install"
                f" {last.read_text()} again, or set HITL_HOME to another folder ({UPGRADES})"
            )

    def failure(self, log_tail: str) -> str:
        """Where the data are too old for this RabbitMQ, what to do."""
        if TOO_OLD not in log_tail:
            return super().failure(log_tail)
        return (
            f"the data in {self.home} were written by an older RabbitMQ, and this one cannot"
            " upgrade them. Nothing was changed. Either start the old one again, let its queues"
            f" run empty, `hitl down`, move {self.home} away, and `hitl up` with the new one; or"
            f" upgrade through the releases between them ({UPGRADES})"
        )

    def _api_answers(self) -> bool:
        api = http.client.HTTPConnection("127.0.0.1", self.ports["api"], timeout=1)
        try:
            token = base64.b64encode(f"{OWNER}:{self.password}".encode()).decode()
            api.request("GET", "/api/overview", headers={"Authorization": f"Basic {token}"})
            answer = api.getresponse()
            if answer.status != http.client.OK:
                return False
            write_private(self.home / "version", str(json.load(answer)["rabbitmq_version"]))
            return True
        finally:
            api.close()

    def _choose_ports(self) -> None:
        """The last run's ports where they are free, so that a saved address keeps working."""
        saved = self.home / "ports.json"
        last = json.loads(saved.read_text()) if saved.exists() else {}
        self.ports = {
            name: last_or_free_port(last.get(name, 0), f"{self.home} {name}") for name in PORT_NAMES
        }
        write_private(saved, json.dumps(self.ports))

    def _write_files(self) -> dict[str, str]:
        """Write the node's configuration; returns the environment it starts with."""
        self.password = kept_secret(self.home / "password")
        name = self.home / "node-name"
        if not name.exists():
            write_private(name, f"hitl-{secrets.token_hex(4)}@localhost")
        for folder in ("user", "data", "log", "config", "plugins"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        config = self.home / "config"
        (config / "environment").write_text("")
        (config / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
        # Queue depths are counted once a second, not every five: they are what people look at.
        (config / "advanced.config").write_text(
            "[{rabbit, [{quorum_tick_interval, 1000}]},\n"
            " {rabbitmq_management_agent, [{sample_retention_policies,\n"
            "   [{global, [{60, 1}]}, {basic, [{60, 1}]}, {detailed, [{60, 1}]}]}]}].\n"
        )
        write_private(
            config / "definitions.json",
            json.dumps(definitions({user: self.password_of(user) for user in USERS})),
        )
        # RabbitMQ keeps what its write-ahead log holds (up to 512 MB) in memory as well, and twice
        # of it while the log is moved to the queues' files. With less than three times that much,
        # it takes no message for half a minute whenever the log is full, and all stand still.
        (config / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.ports['amqp']}\n"
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self.ports['api']}\n"
            "prometheus.tcp.ip = 127.0.0.1\n"
            f"prometheus.tcp.port = {self.ports['metrics']}\n"
            "prometheus.return_per_object_metrics = true\n"
            f"load_definitions = {config / 'definitions.json'}\n"
            "collect_statistics_interval = 1000\n"
            "disk_free_limit.absolute = 200MB\n"
            "vm_memory_high_watermark.absolute = 2GB\n"
            "log.console.level = warning\n"
        )
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.home / "user"),
            # Makes the start script exec the node itself: one process to signal, no shell between.
            "detached": "true",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(config / "advanced.config"),
            "RABBITMQ_CONFIG_FILE": str(config / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(config / "environment"),
            "RABBITMQ_DIST_PORT": str(self.ports["distribution"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(config / "enabled_plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            # The working directory by a name without spaces: RabbitMQ hands it to `df` unquoted.
            "RABBITMQ_MNESIA_BASE": "/proc/self/cwd/data",
            "RABBITMQ_NODENAME": name.read_text(),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(self.home / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-kernel inet_dist_use_interface {127,0,0,1}"),
        }


def _series(version: str) -> tuple[int, ...]:
    """4.3.6 → (4, 3): within a series data can be up- and downgraded."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
