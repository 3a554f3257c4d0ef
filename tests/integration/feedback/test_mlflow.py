"""Does MLflow get every version, with its figures and files, and know which one decides?

On a real store in SQLite; on a real server too where HITL_TEST_MLFLOW names its program, whose
packages do not go together with those of the tests.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partialmethod
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from typer.testing import CliRunner, Result

from hitl.commands.model import app as model_app
from services.feedback.registry.receipt import read_receipt
from services.feedback.registry.versions import Registry
from shared.clock import utc_now
from tests.support.model_versions import add_version

# MLflow 3.17 asks SQLAlchemy 2.1 for something that a later one will not have.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
NAME = "hitl-sentiment"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(params=["sqlite", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty MLflow."""
    database = f"sqlite:///{tmp_path}/mlflow.db"
    if request.param == "sqlite":
        yield database
        return
    program = os.environ.get("HITL_TEST_MLFLOW")
    if program is None:
        pytest.skip("HITL_TEST_MLFLOW names no `mlflow` program")
    port = free_port()
    command = [
        program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", database, "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 150
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/health").close()
                break
            except URLError:
                assert time.monotonic() < until, (tmp_path / "server.log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def run_model(home: Path, uri: str, *words: str) -> Result:
    environment = {
        "HITL_HOME": str(home),
        "HITL_MLFLOW_URI": uri,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "COLUMNS": "200",
    }
    return CliRunner().invoke(model_app, words, env=environment)


def test_mlflow_has_each_version_and_knows_which_decides(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    monkeypatch.chdir(tmp_path)  # a store in a file puts the files beside it
    # Given two versions that were made while MLflow was away, of which one was promoted
    for temperature in (1.5, 2.0):
        add_version(tmp_path / "models", temperature)
    registry = Registry(tmp_path / "models", "sentiment")
    registry.promote("v1", by="a test", at=utc_now())
    # If I ask for another in the shadow, and MLflow is still away
    away = run_model(tmp_path, f"http://127.0.0.1:{free_port()}", "shadow", "v2")
    # I expect it to be done, and to be told what MLflow lacks and how to send it.
    assert away.exit_code == 0, away.output
    assert "v2 also scores 10% of the items" in away.stdout
    assert "not copied to MLflow" in away.stderr
    assert "hitl model push --workflow sentiment" in away.stderr
    current = registry.current()
    assert current is not None
    assert current.shadow is not None
    # If I send it then
    sent = run_model(tmp_path, store, "push")
    assert "registered in MLflow: v1, v2" in sent.stdout, sent.output
    # I expect each with a run, its figures, its card, its tags
    client = MlflowClient(store, store)
    found = {each.tags["hitl.version"]: each for each in client.search_model_versions("")}
    assert found.keys() == {"v1", "v2"}
    for version, each in found.items():
        folder = registry.folder / version
        receipt = read_receipt(folder)
        assert each.name == NAME
        assert each.description == (folder / "README.md").read_text()
        assert each.tags["hitl.model_version"] == receipt.model_version
        assert each.run_id is not None
        run = client.get_run(each.run_id)
        assert (run.info.status, run.info.run_name) == ("FINISHED", version)
        assert run.data.metrics["temperature"] == receipt.temperature
        assert run.data.params["parent"] == receipt.parent.version
        assert run.data.params["seed"] == "1"
    # and the very files of the folder under the names by which they are in use.
    for alias, version in (("live", "v1"), ("shadow", "v2")):
        got = Path(
            download_artifacts(
                artifact_uri=f"models:/{NAME}@{alias}",
                dst_path=str(tmp_path / alias),
                tracking_uri=store,
                registry_uri=store,
            )
        )
        ours = sorted((registry.folder / version).iterdir())
        assert digests(sorted(got.iterdir())) == digests(ours)
    # If it is sent again, I expect nothing new
    assert "nothing new" in run_model(tmp_path, store, "push").stdout
    # and what is decided from now on to be there at once, the workflow's own model included.
    assert run_model(tmp_path, store, "shadow", "--stop").exit_code == 0
    assert client.get_registered_model(NAME).aliases == {"live": found["v1"].version}
    rolled = run_model(tmp_path, store, "rollback")
    assert (rolled.exit_code, rolled.stderr) == (0, "")
    assert client.get_registered_model(NAME).aliases == {}
    assert len(client.search_model_versions("")) == 2


def test_versions_beyond_a_page_are_not_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    # Given an MLflow that lists two versions a page, and has five
    by_two = partialmethod(MlflowClient.search_model_versions, max_results=2)
    monkeypatch.setattr(MlflowClient, "search_model_versions", by_two)
    for temperature in (1.1, 1.2, 1.3, 1.4, 1.5):
        add_version(tmp_path / "models", temperature)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    first = run_model(tmp_path, store, "push")
    assert "registered in MLflow: v1, v2, v3, v4, v5" in first.stdout, first.output
    # If I send them once more / I expect all to be known.
    again = run_model(tmp_path, store, "push")
    assert again.exit_code == 0, again.output
    assert "registered in MLflow: v" not in again.stdout


def test_each_label_is_a_metric_of_its_own_whatever_it_is_called(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    # Given a version with labels that MLflow takes for paths, would not take, or would confuse
    labels = [
        "C++",
        "C##",
        "C",
        "a//b",
        "../up",
        ".",
        "C.2b.2b",
        " x",
        "x ",
        "x",
        "p0.5",
        "\U0001f600",
    ]
    labels += ["l" * 100, "\u20ac" * 100, "\u20ac" * 99 + "+"]
    add_version(tmp_path / "models", 1.5, measured=labels)
    # If it is sent, I expect it to arrive whole
    sent = run_model(tmp_path, store, "push")
    assert "registered in MLflow: v1" in sent.stdout, sent.output
    client = MlflowClient(store, store)
    (version,) = client.search_model_versions("")
    run = client.get_run(str(version.run_id))
    assert run.info.status == "FINISHED"
    # with one metric for each label, and what is plain as it is.
    prefix = "held_out.candidate.f1."
    found = {key: value for key, value in run.data.metrics.items() if key.startswith(prefix)}
    assert sorted(found.values()) == [place / 100 for place in range(15)]
    assert {f"{prefix}C", f"{prefix}x", f"{prefix}C.2b.2b", f"{prefix}a.2f.2fb"} <= found.keys()


def digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in paths}


def test_without_its_client_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an installation without the extra, and a version
    monkeypatch.setitem(sys.modules, "mlflow", None)
    add_version(tmp_path / "models", 1.5)
    # If it is to be put in the shadow, I expect that to be done, and to hear of the extra
    done = run_model(tmp_path, "http://127.0.0.1:9", "shadow", "v1")
    assert done.exit_code == 0
    assert "the extra `mlflow`" in done.stderr


def test_without_mlflow_there_is_nothing_to_push(tmp_path: Path) -> None:
    refused = run_model(tmp_path, "", "push")
    assert refused.exit_code == 1
    assert "HITL_MLFLOW_URI is not set" in refused.stderr
