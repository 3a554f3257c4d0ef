"""A version's receipt: whose decisions made these weights, how, and what they were worth then.

Written once, beside the weights, as `receipt.json`; nothing changes it.
"""

import platform
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import file_digest, sha256
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.answers.base import Kind
from shared.answers.spans import Span
from shared.errors import ConfigurationError

RECEIPT = "receipt.json"
# The receipt of a model that labelled texts made lies here in its folder: a checkpoint's version is
# a hash over every JSON file beside it.
MADE = "made"
PACKAGES = ("torch", "transformers", "peft", "tokenizers", "numpy")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Source(_Part):
    """An item and the event of the decision about it."""

    item_id: str
    event_id: UUID


class Replay(_Part):
    """Earlier data that was trained on, too; the hash is over its texts and shares, in order."""

    source: str
    texts: int
    sha256: str


class Parent(_Part):
    """The version that was trained on."""

    version: str
    model_version: str


class Figures(_Part):
    """A model on one set of texts, with 95 % intervals where there are two numbers more."""

    items: int
    accuracy: tuple[float, float, float]
    micro_f1: tuple[float, float, float] | None = None
    macro_f1: tuple[float, float, float] | None = None
    ece: tuple[float, float, float]
    share_below: tuple[float, float, float]
    f1: dict[str, tuple[float, float, float]]
    label_ece: dict[str, float] = {}


class Receipt(_Part):
    """All there is to know about a version. `figures` are by set of texts (`held_out`, `old`) and
    model (`parent`, `candidate`)."""

    workflow: str
    version: str
    model_version: str
    folder: str = Field(description="of the weights, relative to the workflow's")
    created_at: datetime
    parent: Parent
    labels: tuple[str, ...]
    kind: Kind = Field(default="label", description="of the answers")
    seed: int
    recipe: dict[str, float]
    threshold: float
    temperature: float | dict[str, float] = Field(description="by label where each has its own")
    trained_on: tuple[Source, ...]
    calibrated_on: tuple[Source, ...]
    held_out: int
    left_out: dict[str, int]
    replay: Replay | None
    old_domain: str | None
    figures: dict[str, dict[str, Figures]]
    packages: dict[str, str]
    files: dict[str, str] = Field(description="sha256 by file, relative to `folder`")


class Texts(_Part):
    """Labelled texts; the hash is over them and their answers, in order."""

    texts: int
    sha256: str


class HeadReceipt(_Part):
    """All there is to know about a model that labelled texts made: see `train_heads`. `items`: how
    often people gave each label in the held-out texts; `gates`: name, passed, words."""

    model_version: str
    created_at: datetime
    kind: Kind
    labels: tuple[str, ...]
    seed: int
    recipe: dict[str, float]
    temperature: float | dict[str, float]
    threshold: float
    trained_on: Texts
    calibrated_on: Texts
    held_out: Texts
    base_rate: float
    figures: Figures
    items: dict[str, int]
    gates: tuple[tuple[str, bool, str], ...]
    packages: dict[str, str]
    files: dict[str, str] = Field(description="sha256 by file")


def read_receipt(folder: Path) -> Receipt:
    """The receipt of the version in `folder`.

    Raises:
        ConfigurationError: there is none, or it is not one.
    """
    path = folder / RECEIPT
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a readable receipt: {error}") from None


def packages() -> dict[str, str]:
    """What trained it: the same packages, seed and data give the same weights on one machine."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def files(folder: Path) -> dict[str, str]:
    """The sha256 of every file in `folder`, by name."""
    return {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def changed_files(folder: Path, promised: Mapping[str, str]) -> list[str]:
    """The promised files that are missing or are others now."""
    return [
        name
        for name, digest in promised.items()
        if not (folder / name).is_file() or _sha256(folder / name) != digest
    ]


def digest_of(rows: Iterable[tuple[str, tuple[float, ...], tuple[Span, ...]]]) -> str:
    """The sha256 of texts with their shares or spans."""
    whole = sha256()
    for text, shares, spans in rows:
        places = "".join(f"\0{span.start},{span.end},{span.label}" for span in spans)
        line = f"{text}\0{','.join(f'{share:.6f}' for share in shares)}{places}\n"
        whole.update(line.encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
