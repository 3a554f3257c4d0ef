"""Copies every version of a model to MLflow.

The folder stays what workers read and what decides; MLflow is brought into line with it, so that
whatever it missed in an outage is there after the next call.
"""

import fcntl
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from services.feedback.registry.receipt import RECEIPT, Receipt
from services.feedback.registry.versions import Registry
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

LIVE, SHADOW = "live", "shadow"  # aliases; without `live` the workflow's own model decides
RECEIPT_DIGEST = "hitl.receipt_sha256"  # the tag by which a version is known again
FILES = "model"  # the artifact path
CARD = "README.md"
_MAX_METRICS = 1_000  # a request
_MAX_DESCRIPTION = 5_000  # characters
_LONGEST_LABEL = 150  # of a key, which may have 250 characters
# MLflow takes letters, digits and `_ - . / ` and the blank, and reads keys as paths of files.
_NOT_IN_KEYS = re.compile(r"[^\w\- ]|^ | $")


class NotCopied(ConfigurationError):
    """MLflow has not everything that the folder has."""


def copy_to_mlflow(uri: str, registry: Registry) -> list[str]:
    """Register every version that MLflow lacks, and move the aliases to the versions in use; the
    names of those that were registered now.

    Raises:
        NotCopied: MLflow is not installed, unreachable or refuses something; call it again later.
    """
    if not registry.versions():
        return []
    try:
        with (registry.folder / ".mlflow").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two at once would register a version twice
            return _copy(_client(uri), registry)
    except ImportError as error:
        why = f"{error}; the extra `mlflow` of this package has what is needed"
    except Exception as error:  # whatever its client, and the store behind it, raise
        why = f"{type(error).__name__}: {error}"
    raise NotCopied(
        f"not copied to MLflow ({' '.join(why.split())[:500]}); the folder {registry.folder} has "
        f"everything. Send it later: hitl model push --workflow {registry.workflow}"
    )


def _client(uri: str) -> "MlflowClient":
    # Its own defaults report every use to its makers, and wait four minutes for a dead server.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _versions(client: "MlflowClient", name: str) -> "Iterator[ModelVersion]":
    """All of them: MLflow tells a page at a time."""
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _copy(client: "MlflowClient", registry: Registry) -> list[str]:
    name = f"hitl-{registry.workflow}"
    if not client.search_registered_models(f"name = '{name}'", max_results=1):
        client.create_registered_model(
            name, description=f"What `hitl retrain` made for workflow {registry.workflow}"
        )
    known = {
        found.tags.get(RECEIPT_DIGEST): str(found.version) for found in _versions(client, name)
    }
    places: dict[str, str] = {}
    added = []
    for version in registry.versions():
        digest = sha256((registry.folder / version / RECEIPT).read_bytes()).hexdigest()
        if digest not in known:
            known[digest] = _register(client, name, registry, version, digest)
            added.append(version)
        places[version] = known[digest]
    _move_aliases(client, name, registry, places)
    return added


def _register(
    client: "MlflowClient", name: str, registry: Registry, version: str, digest: str
) -> str:
    """One run with everything that belongs to the version; what MLflow numbers it."""
    receipt = registry.receipt(version)
    card = (registry.folder / version / CARD).read_text(encoding="utf-8")
    experiment = client.get_experiment_by_name(name)
    begun = int(receipt.created_at.timestamp() * 1_000)
    run = client.create_run(
        experiment.experiment_id if experiment else client.create_experiment(name),
        start_time=begun,
        run_name=version,
    )
    run_id = run.info.run_id
    try:
        _log_figures(client, run_id, receipt, begun)
        client.log_artifacts(run_id, str(registry.folder / version), FILES)
        made = client.create_model_version(
            name,
            f"{run.info.artifact_uri}/{FILES}",
            run_id,
            tags={
                RECEIPT_DIGEST: digest,
                "hitl.version": version,
                "hitl.model_version": receipt.model_version,
            },
            description=card[:_MAX_DESCRIPTION],
        )
    except BaseException:
        with suppress(Exception):  # what went wrong first is what counts
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
    return str(made.version)


def _log_figures(client: "MlflowClient", run_id: str, receipt: Receipt, at: int) -> None:
    from mlflow.entities import Metric, Param

    told = {
        "parent": receipt.parent.version,
        "parent_model_version": receipt.parent.model_version,
        "seed": receipt.seed,
        "threshold": receipt.threshold,
        "trained_on": len(receipt.trained_on),
        "calibrated_on": len(receipt.calibrated_on),
        "held_out": receipt.held_out,
        "replayed": 0 if receipt.replay is None else receipt.replay.texts,
        "old_domain": receipt.old_domain,
        **receipt.recipe,
    }
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in told.items()])
    metrics = [Metric(key, value, at, 0) for key, value in _metrics(receipt).items()]
    for start in range(0, len(metrics), _MAX_METRICS):
        client.log_batch(run_id, metrics[start : start + _MAX_METRICS])


def _metrics(receipt: Receipt) -> Mapping[str, float]:
    """As `held_out.candidate.accuracy`; the intervals are in the receipt."""
    one = receipt.temperature
    found = (
        {"temperature": one}
        if isinstance(one, float)
        else {f"temperature.{label}": each for label, each in one.items()}
    )
    for texts, models in receipt.figures.items():
        for model, figures in models.items():
            place = f"{texts}.{model}"
            found[f"{place}.accuracy"] = figures.accuracy[0]
            found[f"{place}.ece"] = figures.ece[0]
            found[f"{place}.share_below"] = figures.share_below[0]
            for label, f1 in figures.f1.items():
                found[f"{place}.f1.{metric_end(label)}"] = f1[0]
    return {key: value for key, value in found.items() if math.isfinite(value)}


def metric_end(label: str) -> str:
    """The label as the end of a metric's name; no two labels become the same. What MLflow would not
    take is written as its UTF-8 bytes, each a dot and two hex digits, as URLs do it with a percent
    sign: `C++` is `C.2b.2b`. What that makes too long ends with two dots and a digest."""
    key = _NOT_IN_KEYS.sub(lambda found: f".{found[0].encode().hex('.')}", label)
    if len(key) <= _LONGEST_LABEL:
        return key
    return f"{key[: _LONGEST_LABEL // 2]}..{sha256(label.encode()).hexdigest()[:32]}"


def _move_aliases(
    client: "MlflowClient", name: str, registry: Registry, places: Mapping[str, str]
) -> None:
    """To where `current.json` is now; away from a version that is neither."""
    current = registry.current()
    shadow = None if current is None else current.shadow
    wanted = {
        LIVE: None if current is None else places.get(current.version),
        SHADOW: None if shadow is None else places.get(shadow.version),
    }
    there = client.get_registered_model(name).aliases
    for alias, place in wanted.items():
        if place is not None:
            client.set_registered_model_alias(name, alias, place)
        elif alias in there:
            client.delete_registered_model_alias(name, alias)
