"""The import layers in pyproject.toml see an arrow that points up."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hitl", "services", "shared")
CONTRACTS: list[dict[str, Any]] = [
    contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
    if contract["type"] == "layers"
]


def checked(folder: Path) -> str:
    """What lint-imports says of the packages in the folder; its lines are not wrapped."""
    said = subprocess.run(
        ["lint-imports", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return said.stdout + said.stderr


def file_of(folder: Path, module: str) -> Path:
    """Where the module's code lies; a package's in its `__init__`."""
    path = folder / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What it says of a copy in which, for each contract, the lowest floor imports the highest."""
    copy = tmp_path_factory.mktemp("layers")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for contract in CONTRACTS:
        [container] = contract["containers"]
        top, bottom = (re.split(r"\s*[|:]\s*", contract["layers"][floor])[0] for floor in (0, -1))
        with file_of(copy, f"{container}.{bottom}").open("a", encoding="utf-8") as file:
            file.write(f"\nimport {container}.{top}\n")
    return checked(copy)


@pytest.mark.parametrize("name", [contract["name"] for contract in CONTRACTS])
def test_an_arrow_that_points_up_is_seen(said: str, name: str) -> None:
    # If the lowest floor imports the highest / I expect that the contract says so
    assert f"{name} BROKEN" in said


def test_every_package_has_its_floors() -> None:
    # Given the packages of the product / I expect that the floors of each are named
    services = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    held = {container for contract in CONTRACTS for container in contract["containers"]}
    assert held >= {"hitl", "shared", *(f"services.{name}" for name in services)}
