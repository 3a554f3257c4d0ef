"""Where do the images come from without a registry? A base from Debian's packages, then `build`.

Ours are built from deploy/docker/Dockerfile as they are for everybody; only the image of Python
below them, and the servers beside them, are stand-ins.
"""

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.containers.engine import Engine

PYTHON = "hitl-stand-in/python"
SERVERS = "hitl-stand-in/servers:sid"
# Python as most have it; the servers as new as docker-compose.yml names them, and those are in
# Debian's unstable only.
BASES = {
    PYTHON: ("bookworm", ["python3", "python3-venv"]),
    SERVERS: (
        "sid",
        ["wget", "python3", "rabbitmq-server", "postgresql-18", "prometheus",
         "prometheus-alertmanager", "prometheus-postgres-exporter"],
    ),
}  # fmt: skip
NOT_IN_A_SLIM_IMAGE = ("doc", "locale", "man")
# Where this machine's environment says that packages lie, a build finds them as well.
FILES = ("PIP_CERT", "SSL_CERT_FILE")
SETTINGS = (*FILES, "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
TORCH_PORT = 18_976  # the same each time: the address is a part of what the builder compares


def make_bases(engine: Engine, folder: Path) -> None:
    """Import the two bases, if this engine has not got them yet."""
    given = {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    for image, (suite, packages) in BASES.items():
        if engine.has(image):
            continue
        archive = folder / "base.tar"
        debootstrap(archive, suite, packages, [given[name] for name in FILES if name in given])
        changes = [f"--change=ENV {name}={value}" for name, value in given.items()]
        engine.docker("import", *changes, archive, image)
        archive.unlink()


def debootstrap(archive: Path, suite: str, packages: Sequence[str], files: Sequence[str]) -> None:
    """A small Debian with some packages, and with some files of this machine at the same place."""
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NOT_IN_A_SLIM_IMAGE]
    uploads = [f"--customize-hook=upload {file} {file}" for file in sorted(set(files))]
    made = subprocess.run(
        # A mirror of the unstable release may be weeks behind; it is signed all the same.
        ["mmdebstrap", "--quiet", "--variant=minbase", *excludes, *uploads,
         '--aptopt=Acquire::Check-Valid-Until "false"',
         f"--include={','.join(['ca-certificates', *packages])}", suite, archive],
        capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


@contextmanager
def torch_index() -> Iterator[dict[str, str]]:
    """Where the builds find torch, as a variable for stand-ins.yml; none: where everybody's do.

    As for bin/setup, a wheel in pip's `find-links` folder comes first, and HITL_TORCH_INDEX names
    another index. A build cannot see that folder, so it is served for the length of the block.
    """
    links = [Path(name) for name in os.environ.get("PIP_FIND_LINKS", "").split()]
    wheels = [wheel for folder in links for wheel in folder.glob("torch-*+cpu-*.whl")]
    if not wheels:
        named = os.environ.get("HITL_TORCH_INDEX")
        yield {"TORCH_INDEX": named} if named else {}
        return
    with TemporaryDirectory(prefix="hitl-torch-") as folder:
        shelf = Path(folder) / "torch"
        shelf.mkdir()
        for wheel in wheels:
            (shelf / wheel.name).symlink_to(wheel)
        server = ThreadingHTTPServer(
            ("127.0.0.1", TORCH_PORT), partial(QuietHandler, directory=folder)
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield {"TORCH_INDEX": f"http://127.0.0.1:{TORCH_PORT}/"}
        finally:
            server.shutdown()
            server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    """A folder, with the list of its files where an index has one."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing of what it serves."""
