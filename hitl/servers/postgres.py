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
from hitl.servers.installed import postgres_programs, postgres_versions
from hitl.servers.ports import claim, free_ports, is_free
from hitl.servers.processes import POLL_SECONDS, Child, Record, write_private
from hitl.servers.rabbitmq import START_TRIES, ServerError

USER = DATABASE = "hitl"
READY_SECONDS = 60.0
STOP_SECONDS = 25.0
LEFT_SECONDS = 5.0  # for what a killed server left; then Postgres itself says what is in its way
# Where a cluster goes when its user cannot enter the stack's own folder (/root, say).
SHARED_DATA = Path("/var/lib/hitl")


class PrivatePostgres:
    """A cluster whose data and password stay in `home`; its port stays where it is free.

    `fast` is for throwaway data: no fsync, and it stops without a checkpoint.
    """

    def __init__(self, home: Path, log: Path, *, fast: bool = False) -> None:
        self.home = home
        self.log = log
        self.fast = fast
        self.port = 0
        self.password = ""
        self.server: Child | None = None

    @property
    def database_url(self) -> str:
        """Where the owner connects, with the password (libpq's form)."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def url_of(self, role: str) -> str:
        """Where a role of `hitl.access.database_roles` connects, once it was made."""
        return f"postgresql://{role}:{self.role_passwords[role]}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def role_passwords(self) -> dict[str, str]:
        """Made of the owner's, which is random; they say nothing about it."""
        key = self.password.encode()
        return {role: hmac.new(key, role.encode(), "sha256").hexdigest() for role in RIGHTS}

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self.server.pid if self.server else None

    def start(self) -> None:
        """Make the cluster at the first start, start the server, return at once.

        Raises ServerError where PostgreSQL is not installed or no user may run it.
        """
        user = server_user()
        password = self.home / "password"
        if not password.exists():
            write_private(password, secrets.token_urlsafe(24))
        self.password = password.read_text()
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
        self.server = Child(
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
        remove_stale_lock(data)
        self.server.start()

    def ready(self) -> bool:
        """Does it answer a query?"""
        try:
            self._run("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def wait_ready(self) -> None:
        """Return when the database answers; raises ServerError with the end of its log."""
        for tries_left in reversed(range(START_TRIES)):
            deadline = time.monotonic() + READY_SECONDS
            while self.alive() and time.monotonic() < deadline:
                if self.ready():
                    self._make_database()
                    return
                time.sleep(0.05)
            if self.alive() or not tries_left or is_free(self.port):
                break
            # Somebody took the port after we had looked.
            self.stop()
            self.start()
        tail = self.server.log_tail() if self.server else ""
        self.stop()
        raise ServerError(f"PostgreSQL did not start; the end of {self.log}:\n{tail}")

    def alive(self) -> bool:
        """Is the server running?"""
        return self.server is not None and self.server.alive()

    def stop(self) -> None:
        """Stop the server; nothing of it is left running."""
        if self.server is not None:
            self.server.stop(STOP_SECONDS)

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

    def _make_database(self) -> None:
        name = sql.SQL("SELECT 1 FROM pg_database WHERE datname = {}").format(sql.Literal(DATABASE))
        if not self._run(name):
            self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))

    def _choose_port(self) -> None:
        """The last run's port where it is free, so that a saved address keeps working."""
        saved = self.home / "port"
        last = int(saved.read_text()) if saved.exists() else 0
        owner = str(self.home)
        self.port = last if last and claim(last, owner) else free_ports(1, owner)[0]
        write_private(saved, str(self.port))

    def _data_folder(self, user: str | None) -> Path:
        """Where the cluster lies: in `home`, or where its user can enter; `location` says where."""
        location = self.home / "location"
        if location.exists():
            return Path(location.read_text())
        data = self.home / "cluster"
        self.home.mkdir(parents=True, exist_ok=True)
        if user is not None and not may_enter(user, self.home):
            # A random part: a folder that was deleted and made again must not find old data.
            data = SHARED_DATA / f"postgres-{secrets.token_hex(6)}"
            SHARED_DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_private(location, str(data))
        return data

    def _make_cluster(self, programs: Path, data: Path, user: str | None) -> None:
        """initdb under another name: what has the right name is whole, also after a kill -9."""
        draft = data.with_name(f"{data.name}.new")
        for old in (draft, data):
            shutil.rmtree(old, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(draft, account.pw_uid, account.pw_gid)
        # The user that runs initdb may not read our files: it gets a copy of its own.
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
    """The programs of the version that made the data, which no other reads; the first for new ones.

    Raises ServerError where they are not installed.
    """
    made_by = data / "PG_VERSION"
    version = int(made_by.read_text()) if made_by.exists() else None
    if programs := postgres_programs(version):
        return programs
    others = ", ".join(map(str, postgres_versions()))
    if version is None or not others:
        raise ServerError("PostgreSQL is not installed (no initdb)")
    raise ServerError(
        f"the data in {data} are PostgreSQL {version}'s, which is not installed (there is:"
        f" {others}). Either install it (Debian: apt-get install postgresql-{version}), or take"
        f' them along: docs/operate/upgrades.md, "PostgreSQL of another version"'
    )


def server_user() -> str | None:
    """Whom the server runs as: us (None), or `postgres` where we are root."""
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
    """Stop a server that still runs on this data, or remove the lock a crash left behind.

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
