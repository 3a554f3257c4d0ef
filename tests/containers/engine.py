"""A private Docker engine for these tests, where one can run; it touches nothing else here.

Its socket and its images lie in folders of the test's; it changes no packet filter, so its
containers reach each other, and 127.0.0.1 reaches their published ports, but they reach nobody.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.contract.test_compose import program

START_SECONDS = 60
# In Debian's packages `docker.io` and `mmdebstrap`.
NEEDS = ("dockerd", "containerd", "runc", "docker", "mmdebstrap")


class NoEngineError(Exception):
    """Why no engine can be started here."""


@dataclass(frozen=True)
class Engine:
    """A running Docker engine."""

    socket: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its clients need; nothing of the user's own settings for Docker."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.socket.parent),
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_BUILDKIT": "0",  # the builder that every engine has
            "COMPOSE_PARALLEL_LIMIT": "1",  # it makes a stage that two images share once only
        }

    def docker(self, *arguments: str | Path) -> str:
        """What `docker …` prints."""
        return subprocess.run(
            ["docker", *arguments],
            env=self.environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    def has(self, image: str) -> bool:
        """Is this image there?"""
        return bool(self.docker("image", "ls", "--quiet", image))


@contextmanager
def private_engine(folder: Path) -> Iterator[Engine]:
    """An engine that keeps its images and volumes in `folder`, for the length of the block.

    Raises NoEngineError, in words, where none can be started.
    """
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if missing:
        raise NoEngineError(f"not installed: {', '.join(missing)} (Debian: docker.io, mmdebstrap)")
    if os.geteuid() != 0:
        raise NoEngineError("starting a Docker engine needs root")
    program("docker-compose")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hitl-docker-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        engine = Engine(home / "docker.sock")
        log = home / "dockerd.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["dockerd", "--host", f"unix://{engine.socket}", "--pidfile", home / "docker.pid",
                 "--exec-root", home / "exec", "--data-root", folder / "engine",
                 "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"],
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until_it_answers(engine, process, log)
            yield engine
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=120)
            # It leaves this mounted, and with it the folder could not be removed.
            subprocess.run(["umount", home / "exec" / "netns" / "default"], capture_output=True)


def wait_until_it_answers(engine: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once `docker info` works; else raises NoEngineError with the engine's last words."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            engine.docker("info")
        except subprocess.CalledProcessError:
            time.sleep(0.5)
        else:
            return
    raise NoEngineError("dockerd does not start: " + " ".join(log.read_text().splitlines()[-3:]))
