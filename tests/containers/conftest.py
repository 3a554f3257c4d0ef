"""Who starts the stack in containers, once for all tests? And what is said of it at the end?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hitl.ports import free_ports
from tests.conftest import cannot_run
from tests.containers.engine import Engine, NoEngineError, private_engine
from tests.containers.images import make_bases, torch_index
from tests.containers.stack import EVERY_PROFILE, PORTS, Stack

UP = ("up", "--detach", "--wait", "--wait-timeout", "600")
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
def stack(engine: Engine) -> Iterator[Stack]:
    """Everything built, and everything up that `docker compose up` starts; gone at the end."""
    stack = Stack(engine, dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    with torch_index() as named:
        stack.environment |= named
        stack.timed("build", *EVERY_PROFILE, "build")
    stack.compose(*EVERY_PROFILE, "down", "--volumes")  # what a run that was ended has left
    try:
        stack.timed("up, for the first time", *UP)
        yield stack
    finally:
        tell(stack)
        stack.compose(*EVERY_PROFILE, "down", "--volumes", ok=False)


def tell(stack: Stack) -> None:
    """What ran, how large it is and how long it took."""
    images = {each["image"]: each for each in stack.services().values()}
    for image, service in images.items():
        size = int(stack.engine.docker("image", "inspect", "--format", "{{.Size}}", image))
        if image.startswith("hitl-pipeline/"):
            summary.append(f"{image}: {size / 1e6:.0f} MB")
        else:
            summary.append(f"{image}: stood in for by target {service['build']['target']}")
    base = stack.engine.docker("image", "inspect", "--format", "{{.Size}}", "hitl-stand-in/python")
    summary.append(f"… of which Python's base: {int(base) / 1e6:.0f} MB")
    summary.append("Grafana itself was not run: a web server of a few lines stood in for it")
    summary.extend(f"{what}: {seconds:.0f} s" for what, seconds in stack.took.items())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Under the results."""
    if summary:
        terminalreporter.section("containers")
        for line in summary:
            terminalreporter.line(line)
