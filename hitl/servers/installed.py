"""Finds the installed RabbitMQ and PostgreSQL to run.

What is first on PATH; then what Debian keeps off it. A server's data tie it to one PostgreSQL.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

DEBIANS_RABBITMQ = Path("/usr/lib/rabbitmq/bin")
DEBIANS_POSTGRES = Path("/usr/lib/postgresql")
# Debian's scripts of the same names, which change the user.
_CHANGE_USER = ("/usr/sbin", "/sbin")


def rabbitmq_program(name: str) -> Path | None:
    """One program of RabbitMQ: `rabbitmq-server`, `rabbitmqctl`, …"""
    on_path, real = shutil.which(name), DEBIANS_RABBITMQ / name
    if real.exists() and (on_path is None or os.path.dirname(on_path) in _CHANGE_USER):
        return real
    return Path(on_path) if on_path else None


def rabbitmq_version(server: Path) -> str | None:
    """Of the RabbitMQ that this program starts; None where it does not say."""
    if in_path := re.search(r"/rabbitmq_server-([\d.]+)/", str(server.resolve())):
        return in_path[1]
    control = server.with_name("rabbitmqctl")
    if not control.exists():
        return None
    said = subprocess.run([control, "version"], capture_output=True, text=True, timeout=60)
    return said.stdout.strip() or None


def postgres_programs(version: int | None = None) -> Path | None:
    """The folder of `initdb`, `postgres`, `pg_dump`, …: the first one, or the one of a version."""
    for found, folder in _postgres_folders():
        if version in (None, found):
            return folder
    return None


def postgres_versions() -> list[int]:
    """Which versions are there, in the order in which they are taken."""
    return list(dict.fromkeys(version for version, _folder in _postgres_folders()))


def _postgres_folders() -> Iterator[tuple[int, Path]]:
    """On PATH in its order, then Debian's, the newest first."""
    for entry in os.get_exec_path():
        if initdb := shutil.which("initdb", path=entry):
            said = subprocess.run([initdb, "--version"], capture_output=True, text=True).stdout
            if version := re.search(r"\(PostgreSQL\) (\d+)", said):
                yield int(version[1]), Path(initdb).resolve().parent
    debians = [
        (int(folder.parent.name), folder)
        for folder in DEBIANS_POSTGRES.glob("*/bin")
        if folder.parent.name.isdecimal() and (folder / "initdb").exists()
    ]
    yield from sorted(debians, reverse=True)
