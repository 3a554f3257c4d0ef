"""Finds the installed RabbitMQ and PostgreSQL: on PATH, then where Debian keeps them.

A cluster's data can be used only by the PostgreSQL version that wrote them.
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
    """The path of one program of RabbitMQ: `rabbitmq-server`, `rabbitmqctl`, …"""
    on_path, real = shutil.which(name), DEBIANS_RABBITMQ / name
    if real.exists() and (on_path is None or os.path.dirname(on_path) in _CHANGE_USER):
        return real
    return Path(on_path) if on_path else None


def rabbitmq_version(server: Path) -> str | None:
    """The version of the RabbitMQ that this program starts; None if unknown."""
    if in_path := re.search(r"/rabbitmq_server-([\d.]+)/", str(server.resolve())):
        return in_path[1]
    control = server.with_name("rabbitmqctl")
    if not control.exists():
        return None
    said = subprocess.run([control, "version"], capture_output=True, text=True, timeout=60)
    return said.stdout.strip() or None


def postgres_programs(version: int | None = None) -> Path | None:
    """The folder of `initdb`, `postgres`, `pg_dump`, …: the first, or that of a major version."""
    for found, folder in _postgres_folders():
        if version in (None, found):
            return folder
    return None


def postgres_versions() -> list[int]:
    """The installed major versions, in the order of preference."""
    return list(dict.fromkeys(version for version, _folder in _postgres_folders()))


def _postgres_folders() -> Iterator[tuple[int, Path]]:
    """Those on PATH in its order, then Debian's, the newest first."""
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
