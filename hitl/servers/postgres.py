"""Runs a private Postgres cluster under one folder, also for root.

Passwords over TCP on 127.0.0.1, a free port, no Unix socket (its path has a limit of 107 bytes).
Postgres refuses to run as root: then it runs as `postgres`, with data where that user can enter.
"""

import hmac
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg2
from psycopg2 import sql

from hitl.access.database_roles import RIGHTS
from hitl.servers.home import kept_secret
from hitl.servers.installed import postgres_programs, postgres_versions
from hitl.servers.ports import last_or_free_port
from hitl.servers.private import STOP_SECONDS, PrivateServer, ServerError
from hitl.servers.processes import POLL_SECONDS, Child, Record, write_private

USER = DATABASE = "hitl"
LEFT_SECONDS = 5.0  # for the children of a killed server to end; then Postgres names the obstacle
# Where a cluster goes when its user cannot enter the stack's own folder (/root, say).
SHARED_DATA = Path("/var/lib/hitl")


class PrivatePostgres(PrivateServer):
    """A cluster; with `fast` it runs without fsync, and stops without a checkpoint."""

    title = "PostgreSQL"

    @property
    def database_url(self) -> str:
        """The owner's address, with the password (libpq's form)."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def url_of(self, user: str) -> str:
        """The address for a role of `hitl.access.database_roles`, once it was created."""
        return f"postgresql://{user}:{self.role_passwords[user]}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def role_passwords(self) -> dict[str, str]:
        """Derived from the owner's, which is random; they do not reveal it."""
        key = self.password.encode()
        return {role: hmac.new(key, role.encode(), "sha256").hexdigest() for role in RIGHTS}

    def start(self) -> None:
        """Make the cluster at the first start, start the server, return at once.

        Raises:
            ServerError: PostgreSQL is not installed, or no user may run it.
        """
        user = server_user()
        self.password = kept_secret(self.home / "password")
        data = self._data_folder(user)
        programs = programs_for(data)
        if not (data / "PG_VERSION").exists():
            self._make_cluster(programs, data, user)
        self._choose_port()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # After each checkpoint a page is logged whole when it is first touched: with 1 GB, and
            # keys that come in no order, that is most of the log once there are many rows.
            "max_wal_size": "4GB",
        }
        if self.fast:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        server = Child(
            "postgres",
            [str(programs / "postgres"), "-D", str(data), *options],
            {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            self.log,
            self.home / "run" / "postgres.json",
            # "Immediate": no checkpoint. "Fast": roll back what is open, do not wait for clients.
            # A SIGKILL would leave a segment of shared memory behind; the kernel has room for 4096.
            stop_signal=signal.SIGQUIT if self.fast else signal.SIGINT,
            orphan_signal=signal.SIGINT,
            user=user,
        )
        self.processes = [server]
        remove_stale_lock(data)
        server.start()

    def ready(self) -> bool:
        """Does it answer a query?"""
        try:
            self._run("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def wait_ready(self) -> None:
        """Return when the database is there and answers.

        Raises:
            ServerError: the server did not start; the text has the end of its log.
        """
        super().wait_ready()
        name = sql.SQL("SELECT 1 FROM pg_database WHERE datname = {}").format(sql.Literal(DATABASE))
        if not self._run(name):
            self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _run(self, statement: str | sql.Composed) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=self.password,
            dbname="postgres",
            connect_timeout=2,
        )
        try:
            connection.autocommit = True  # CREATE DATABASE runs in no transaction
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def _choose_port(self) -> None:
        """The last run's port where it is free, so that a saved address keeps working."""
        saved = self.home / "port"
        last = int(saved.read_text()) if saved.exists() else 0
        self.port = last_or_free_port(last, str(self.home))
        self.ports = {"sql": self.port}
        write_private(saved, str(self.port))

    def _data_folder(self, user: str | None) -> Path:
        """The cluster's folder: in `home`, or where its user can enter; kept in `location`."""
        location = self.home / "location"
        if location.exists():
            return Path(location.read_text())
        data = self.home / "cluster"
        self.home.mkdir(parents=True, exist_ok=True)
        if user is not None and not may_enter(user, self.home):
            # A random part: a home that was deleted and made again must not find old data.
            data = SHARED_DATA / f"postgres-{secrets.token_hex(6)}"
            SHARED_DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_private(location, str(data))
        return data

    def _make_cluster(self, programs: Path, data: Path, user: str | None) -> None:
        """Runs initdb under another name: the final name means complete, also after a kill -9."""
        draft = data.with_name(f"{data.name}.new")
        for old in (draft, data):
            shutil.rmtree(old, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(draft, account.pw_uid, account.pw_gid)
        # The user that runs initdb cannot read our files: it gets a copy of its own.
        handle, pwfile = tempfile.mkstemp(prefix="hitl-")
        with os.fdopen(handle, "w") as file:
            file.write(self.password)
        if user is not None:
            os.chown(pwfile, account.pw_uid, account.pw_gid)
        command = [
            *as_user(user),
            str(programs / "initdb"),
            "--pgdata",
            str(draft),
            "--username",
            USER,
            f"--pwfile={pwfile}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        if self.fast:
            command.append("--no-sync")
        try:
            made = subprocess.run(command, text=True, capture_output=True, cwd="/")
        finally:
            os.unlink(pwfile)
        if made.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            raise ServerError(f"initdb failed: {made.stderr.strip()}")
        draft.rename(data)


def programs_for(data: Path) -> Path:
    """The programs of the version that wrote the data; for new data, the first that is found.

    Raises:
        ServerError: they are not installed.
    """
    made_by = data / "PG_VERSION"
    version = int(made_by.read_text()) if made_by.exists() else None
    if programs := postgres_programs(version):
        return programs
    others = ", ".join(map(str, postgres_versions()))
    if version is None or not others:
        raise ServerError("PostgreSQL is not installed (no initdb)")
    raise ServerError(
        f"the data in {data} are PostgreSQL {version}'s, which is not installed (only {others})."
        f" Either install it (Debian: apt-get install postgresql-{version}), or migrate them:"
        ' docs/operate/upgrades.md, "PostgreSQL of another version"'
    )


def server_user() -> str | None:
    """The user to run the server as: us (None), or `postgres` where we are root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise ServerError(
            "Postgres refuses to run as root, and there is no user 'postgres'"
        ) from None


def as_user(user: str | None) -> list[str]:
    """The beginning of a command line that runs the rest as `user`."""
    if user is None:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]


def may_enter(user: str, folder: Path) -> bool:
    """May this user reach what lies in the folder?"""
    return subprocess.run([*as_user(user), "test", "-x", str(folder)]).returncode == 0


def remove_stale_lock(data: Path) -> None:
    """Stops a server that still runs on this data, or removes the lock that a crash left behind.

    Postgres itself refuses to start when the pid in its lock file belongs to any live process, and
    while a process of the old server is still attached to its shared memory.
    """
    lock = data / "postmaster.pid"
    try:
        lines = lock.read_text().splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return
    holder = Record.of(pid)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # gone
        command = b""
    if holder is not None and b"postgres" in command and os.fsencode(data) in command:
        holder.stop(signal.SIGINT, STOP_SECONDS)
    # The children of a killed server end when they notice, usually within milliseconds.
    deadline = time.monotonic() + LEFT_SECONDS
    while attached(lines) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    lock.unlink(missing_ok=True)


def attached(lock_lines: list[str]) -> bool:
    """Does any process hold the shared memory that a lock file names (line 7: key and id)?"""
    try:
        key, segment = map(int, lock_lines[6].split())
        segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    except (IndexError, ValueError, OSError):  # it had none yet, or the kernel has none
        return False
    for line in segments:
        # key (signed here, not there), shmid, perms, size, cpid, lpid, nattch (sysvipc(7))
        fields = line.split()
        if (int(fields[0]) % 2**32, int(fields[1])) == (key % 2**32, segment):
            return fields[6] != "0"
    return False
