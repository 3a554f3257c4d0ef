"""Versions of the embedded model that needed no training: the shipped one, calibrated otherwise."""

import json
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from services.feedback.registry.receipt import Figures, Parent, Receipt, files, packages
from services.feedback.registry.versions import Registry
from services.inference import embedded
from services.inference.classifier import load

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def figures_of(labels: Iterable[str]) -> Figures:
    """Something for each label, another number each."""
    third = (0.5, 0.4, 0.6)
    return Figures(
        items=100,
        accuracy=third,
        ece=third,
        share_below=third,
        f1={label: (place / 100, 0.0, 1.0) for place, label in enumerate(labels)},
    )


def receipt_of(version: str, model_version: str) -> Receipt:
    """Of a version that nothing was trained on, without files."""
    return Receipt(
        workflow="sentiment",
        version=version,
        model_version=model_version,
        folder=version,
        created_at=NOW,
        parent=Parent(version="base", model_version="embedded@0"),
        labels=("negative", "positive"),
        seed=1,
        recipe={},
        threshold=0.85,
        temperature=1.0,
        trained_on=(),
        calibrated_on=(),
        held_out=0,
        left_out={},
        replay=None,
        old_domain=None,
        figures={},
        packages={},
        files={},
    )


def add_version(
    models_dir: Path,
    temperature: float,
    labels: tuple[str, ...] = ("negative", "positive"),
    measured: Sequence[str] = (),
) -> Receipt:
    """The shipped adapter with another temperature, as a version of its own; `measured` are the
    labels of which its receipt has a figure."""
    registry = Registry(models_dir, "sentiment")
    version = registry.next_version()
    with registry.staging() as staged:
        folder = staged / version
        shutil.copytree(embedded.SHIPPED_ADAPTER, folder)
        path = folder / "calibration.json"
        told = {"labels": labels, "temperature": temperature}
        path.write_text(json.dumps({**json.loads(path.read_text()), **told}))
        receipt = receipt_of(version, load(str(folder)).model_version).model_copy(
            update={
                "labels": labels,
                "figures": {"held_out": {"candidate": figures_of(measured)}} if measured else {},
                "temperature": temperature,
                "packages": packages(),
                "files": files(folder),
            }
        )
        registry.register(folder, receipt, "a test")
    return receipt
