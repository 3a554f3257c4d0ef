"""Does what one installs from a wheel work, from any folder, and does it leave the rest alone?

The wheel is built from the working tree and installed beside the packages of the extra `cli` alone.
"""

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hitl.stack.fleet import SERVICES
from shared.release import ROOT, package_version
from shared.topology import accepted_queue
from tests.support.amqp_client import outsider
from tests.support.visible_packages import closure, link_distribution

WORKFLOW = ROOT / "deploy" / "workflows" / "sentiment.toml"
ALL_PACKAGES = sysconfig.get_path("purelib")  # that the tests have
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def build(kind: str, source: Path, into: Path) -> Path:
    """The wheel or sdist of a source tree, made without network."""
    subprocess.run(
        [sys.executable, "-P", "-m", "hatchling", "build", "--target", kind, "-d", into],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (built,) = into.iterdir()
    return built


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel, and an empty folder to call it from."""

    venv: Path
    folder: Path

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return self.venv / "lib" / PYTHON / "site-packages"

    @property
    def environment(self) -> dict[str, str]:
        """Of somebody who has set nothing; bytecode would be written beside the sources."""
        return {
            "HOME": str(self.folder.parent / "home"),
            "PATH": f"{self.venv / 'bin'}:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def __call__(
        self,
        *command: str | Path,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """A command typed in the empty folder."""
        return subprocess.run(
            command, cwd=self.folder, env={**self.environment, **(env or {})}, input=stdin,
            capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip

    def said(
        self,
        *command: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> str:
        """What a command that works prints."""
        done = self(*command, stdin=stdin, env=env, seconds=seconds)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def written(self) -> set[Path]:
        """All that lies in its site-packages."""
        return set(self.packages.rglob("*"))


def install(what: Path, place: Path, *options: str, beside: str | Path = "") -> Installed:
    """A wheel, or a checkout to be edited, in a new environment, beside a folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    found = Installed(place / "venv", place / "empty")
    (found.packages / "beside.pth").write_text(f"{beside}\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", found.venv / "bin" / "python", "install",
         "--quiet", "--no-index", "--no-deps", "--no-compile", *options, what],
        check=True,
    )  # fmt: skip
    found.folder.mkdir()
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """With what the extra `cli` brings, and no other package."""
    place = tmp_path_factory.mktemp("installed")
    packages = place / "packages"
    packages.mkdir()
    for name in closure({"cli"}):
        link_distribution(name, packages)
    return install(wheel, place, beside=packages)


def test_the_wheel_holds_the_sources_under_one_name_and_nothing_else(wheel: Path) -> None:
    # Given what git keeps of the product's folders / I expect it all in the wheel,
    folders = ("hitl", "services", "shared", "deploy/workflows")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    kept = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    about = f"hitl_pipeline-{package_version()}.dist-info/"
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {name for name in names if not name.startswith(about)}
    own = {f"hitl_pipeline/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    # and besides it only what makes it a package, and what says whose it is.
    assert sources == own | {f"hitl_pipeline/{name}" for name in kept.split()}
    assert f"{about}licenses/LICENSE" in names


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as sdist:
        sdist.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert build("wheel", source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_an_editable_installation_runs_the_checkout(tmp_path: Path) -> None:
    options = ("--no-build-isolation", "--editable")
    installed = install(ROOT, tmp_path, *options, beside=ALL_PACKAGES)
    where = "import hitl, hitl_pipeline; print(hitl.__file__, hitl_pipeline.__file__, sep='\\n')"
    assert installed.said("python", "-c", where).splitlines() == [
        str(ROOT / "hitl" / "__init__.py"),
        str(ROOT / "deploy" / "wheel" / "hitl_pipeline" / "__init__.py"),
    ]
    assert installed.said("hitl", "--version") == f"hitl {package_version()}\n"


@pytest.mark.parametrize("name", ["hitl", "services", "shared", "deploy", "tests"])
def test_no_other_program_of_the_environment_sees_our_modules(
    installed: Installed, name: str
) -> None:
    done = installed("python", "-c", f"import {name}")
    assert f"No module named '{name}'" in done.stderr


def test_every_module_of_the_command_line_is_imported_with_what_its_extra_brings(
    installed: Installed,
) -> None:
    # Given the packages of `cli` alone / I expect every command to have all that it imports.
    files = sorted((ROOT / "hitl").rglob("*.py"))
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    assert {"hitl.commands.stack", "hitl.stack.supervisor"} <= set(modules)
    own = {"PYTHONPATH": str(installed.packages / "hitl_pipeline")}
    installed.said("python", "-c", f"import {', '.join(modules)}", env=own)


def test_commands_run_from_any_folder_and_write_nothing_beside_the_sources(
    installed: Installed,
) -> None:
    before = installed.written()
    # Given a folder of somebody's where `shared` is something else
    trap = installed.folder / "shared"
    trap.mkdir()
    (trap / "__init__.py").write_text("raise SystemExit('not ours')")
    # I expect each command to find its own sources, and the files that came with them
    for words in (("hitl",), ("python", "-m", "hitl_pipeline")):
        assert installed.said(*words, "--version") == f"hitl {package_version()}\n"
    assert "sentiment" in installed.said("hitl", "workflow", "check")
    assert str(WORKFLOW) in installed.said("hitl", "workflow", "check", str(WORKFLOW))
    for command, page in (
        ("asyncapi", "docs/build/asyncapi.yaml"),
        ("settings", "docs/operate/configuration.md"),
    ):
        assert installed.said("hitl", command) == (ROOT / page).read_text()
    # and a stack's folder where this user's programs keep their state.
    status = installed("hitl", "status")
    assert status.returncode == 1
    home = Path(installed.environment["HOME"]) / ".local" / "state" / "hitl"
    assert status.stdout == f"No stack is running in {home}; start one with `hitl up`.\n"
    # I expect a new workflow in a folder of one's own only,
    new = ("hitl", "workflow", "new", "reviews")
    refused = installed(*new)
    assert (refused.returncode, "HITL_WORKFLOWS_DIR" in refused.stderr) == (1, True)
    mine = {"HITL_WORKFLOWS_DIR": str(installed.folder)}
    installed.said(*new, env=mine)
    assert (installed.folder / "reviews.toml").exists()
    assert installed.written() == before


def test_a_whole_stack_says_what_it_needs_and_is_not_installed(installed: Installed) -> None:
    up = installed("hitl", "up")
    assert (up.returncode, up.stdout) == (1, "")
    assert up.stderr.startswith("Cannot start: the services need torch, gradio, which are not")
    assert "pip install 'hitl-pipeline[up,model]'" in up.stderr


@pytest.mark.timeout(600)
def test_a_whole_stack_runs_from_the_wheel(
    wheel: Path, tmp_path: Path, amqp_url: str, database_url: str
) -> None:
    # Given the wheel beside all packages that the tests have, and servers
    installed = install(wheel, tmp_path, beside=ALL_PACKAGES)
    ports = {port: "0" for port, _default in SERVICES.values()}
    there = {**ports, "AMQP_URL": amqp_url, "DATABASE_URL": database_url}
    before = installed.written()
    try:
        # If all is started from there / I expect every service to be ready, and an item decided
        installed.said("hitl", "up", "--detach", "--no-demo", env=there, seconds=300)
        installed.said("hitl", "publish", "-", "--format", "txt", stdin="Wonderful!\n", env=there)
        with outsider(amqp_url) as client:
            (decided,) = client.take(accepted_queue("sentiment"), 1)
        assert json.loads(decided.body)["decision"]["label"] == "positive"
    finally:
        stopped = installed("hitl", "down", env=there, seconds=300)
    assert stopped.stdout.endswith("Stopped.\n")
    assert installed.written() == before


def test_without_its_packages_the_command_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    alone = install(wheel, tmp_path)("hitl", "status")
    assert (alone.returncode, "Traceback" in alone.stderr) == (1, False)
    assert "typer" in alone.stderr and "pip install 'hitl-pipeline[cli]'" in alone.stderr


def test_a_pipeline_that_runs_elsewhere_is_worked_with(
    installed: Installed, amqp_url: str, database_url: str
) -> None:
    # Given the addresses of a broker and a database
    there = {"AMQP_URL": amqp_url, "DATABASE_URL": database_url}
    # I expect both to be prepared, accounts and tokens to be made,
    installed.said("hitl", "prepare", env=there)
    added = ("hitl", "reviewer", "add", "anna", "--password-stdin")
    assert "anna" in installed.said(*added, stdin="correct horse battery\n", env=there)
    token = ("hitl", "token", "create", "crawler", "--scope", "items:write")
    assert installed.said(*token, env=there).strip()
    # items to be sent and seen waiting,
    installed.said("hitl", "publish", "-", "--format", "txt", stdin="Good.\nBad.\n", env=there)
    status = json.loads(installed.said("hitl", "status", "--json", env=there))
    assert status["queues"]["hitl.sentiment.inference"]["ready"] == 2
    # and what people decided to be saved.
    assert "correct_label" in installed.said("hitl", "export", "labels", env=there)
