"""Who starts the stack in containers, once for all tests? And what is said of it at the end?"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import cannot_run
from tests.containers.engine import Engine, NoEngineError, private_engine
from tests.containers.images import PYTHON, make_bases, torch_index
from tests.containers.stack import EVERY_PROFILE, Stack

summary: list[str] = []


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A Docker engine; skips, and says why, where none is wanted or none can be started."""
    folder = request.config.getoption("--containers")
    if folder is None:
        pytest.skip("builds images and runs docker-compose.yml: --containers FOLDER")
    try:
        with private_engine(Path(folder).resolve()) as engine:
            make_bases(engine, Path(folder))
            yield engine
    except NoEngineError as error:
        cannot_run(f"no Docker engine can be started here: {error}")


@pytest.fixture(scope="session")
def built(engine: Engine) -> Engine:
    """The engine with all images of docker-compose.yml; their sizes are said at the end."""
    stack = Stack(engine)
    with timed("build"), torch_index() as named:
        stack.compose(*EVERY_PROFILE, "build", environment=named)
    for image in sorted({each["image"] for each in stack.services().values()}):
        if image.startswith("hitl-pipeline/"):
            summary.append(f"{image}: {megabytes(engine, image)} MB")
        else:
            summary.append(f"{image}: a stand-in from Debian's packages")
    summary.append(f"… of each, the base with Python: {megabytes(engine, PYTHON)} MB")
    summary.append("Grafana itself was not run: a web server of a few lines stood in for it")
    return engine


@contextmanager
def running(stack: Stack, words: str) -> Iterator[Stack]:
    """The stack from nothing, and nothing of it afterwards."""
    stack.delete()  # what a run that was ended has left
    try:
        with timed(f"up, {words}"):
            stack.up()
        yield stack
    finally:
        stack.delete()


@contextmanager
def timed(what: str) -> Iterator[None]:
    """How long that took is said at the end."""
    start = time.monotonic()
    yield
    summary.append(f"{what}: {time.monotonic() - start:.0f} s")


def megabytes(engine: Engine, image: str) -> int:
    """The size of an image with all its layers."""
    return round(int(engine.docker("image", "inspect", "--format={{.Size}}", image)) / 1e6)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Under the results."""
    if summary:
        terminalreporter.section("containers")
        for line in summary:
            terminalreporter.line(line)
