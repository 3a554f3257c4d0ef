"""Writes the file of a new workflow."""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from string import Template

from pydantic import ValidationError

from hitl.support.workflow_kinds import SCAFFOLDS
from services.router.policy import Policy
from shared.answers.base import Kind
from shared.answers.reading import KIND_NAMES
from shared.errors import ConfigurationError, problems_of
from shared.labels import distinct, label_key, of_model
from shared.suggestions import did_you_mean
from shared.workflows.files import EMBEDDED, NO_MODEL, WorkflowFile, is_workflow_name

EMBEDDED_LABELS = ("negative", "positive")
GUIDELINE = "Say here what a reviewer must know to choose: {}, what is in doubt."
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAMELESS = re.compile(r"LABEL_\d+")  # transformers' default names for labels


def render(
    name: str,
    labels: Sequence[str],
    model: str,
    guideline: str = "",
    title: str = "",
    kind: Kind = "label",
) -> str:
    """The whole file, valid and with every key explained.

    Raises:
        ConfigurationError: the name, the labels or the model cannot be used like this.
    """
    first = labels[0] if labels else ""
    says = SCAFFOLDS[kind]
    guideline = guideline or GUIDELINE.format(says.means)
    named = {
        "name": name,
        "labels": ", ".join(map(_quoted, labels)),
        "model": f"model = {_quoted(model)} ".ljust(30),
        "key": first if _BARE_KEY.fullmatch(first) else _quoted(first),
        "label": _quoted(first),
        "condition": f"label = {_quoted(first)} ".ljust(42),
    }
    rule, when, reason = says.rule

    def filled(part: str) -> str:
        return Template(part).substitute(named)

    text = Template(files("hitl").joinpath("workflow.toml").read_text("utf-8")).substitute(
        title=title or f"The workflow {name}: {says.title}",
        name=name,
        restart=says.restart,
        keys=filled(says.keys),
        guideline=guideline.replace("\\", "\\\\").replace('"""', '\\"\\"\\"'),
        names=says.names,
        truncated=says.truncated,
        thresholds=filled(says.thresholds),
        rule=rule,
        when=filled(when),
        reason=reason,
        conditions=filled(says.conditions),
    )
    try:
        tables = tomllib.loads(text)
        if says.schema:
            tables["workflow"]["schema"] = says.schema
        Policy.of_file(WorkflowFile.model_validate(tables))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        said = problems_of(error, "file") if isinstance(error, ValidationError) else error
        raise ConfigurationError(f"the file would not be valid: {said}") from None
    return text


def checked_kind(kind: str) -> Kind:
    """The kind of answer of this name.

    Raises:
        ConfigurationError: there is none.
    """
    if kind not in KIND_NAMES:
        raise ConfigurationError(
            f"there is no kind of answer {kind!r}, only {', '.join(KIND_NAMES)}"
            f"{did_you_mean(kind, KIND_NAMES)}"
        )
    return KIND_NAMES[kind]


def model_of(kind: Kind, wanted: str) -> str:
    """The model to write: the one wanted, by default the embedded one, which gives one label.

    Raises:
        ConfigurationError: there is no model for this kind.
    """
    if not wanted:
        return EMBEDDED if kind == "label" else NO_MODEL
    if not SCAFFOLDS[kind].has_labels and wanted != NO_MODEL:
        raise ConfigurationError(f"--model: none of ours answers with {kind}; leave it out")
    return wanted


def checked_labels(model: str, wanted: Sequence[str], kind: Kind = "label") -> tuple[str, ...]:
    """The labels to write: those wanted, which must be the model's, or by default the model's;
    where there is no model, some to begin with, but for kind `label`.

    Raises:
        ConfigurationError: they are not the model's, there are none, or the kind has none.
    """
    wanted = distinct(wanted)
    if not SCAFFOLDS[kind].has_labels:
        if wanted:
            raise ConfigurationError(
                f"--labels: they mean nothing where {kind} is the answer: leave them out"
            )
        return ()
    if kind != "label" and model == NO_MODEL:
        return tuple(wanted) or SCAFFOLDS[kind].labels
    own = labels_of(model)
    if own is None:  # a hub id: its labels are known once it is loaded
        if len(wanted) < (2 if kind == "label" else 1):
            raise ConfigurationError(f"give the labels of {model}: --labels a,b,…")
        return tuple(wanted)
    if not wanted:
        return own
    nameless = len(own) == len(wanted) and all(map(_NAMELESS.fullmatch, own))
    if not nameless and sorted(map(label_key, own)) != sorted(map(label_key, wanted)):
        raise ConfigurationError(
            f"the model {model} has the labels {', '.join(own)}, not {', '.join(wanted)}: use "
            f"those, or another --model; `hitl train-texts` trains one on labelled texts"
        )
    return tuple(wanted)


def checked_name(name: str) -> str:
    """The name, checked.

    Raises:
        ConfigurationError: it is not a valid name.
    """
    if not is_workflow_name(name) or name == "unknown":
        raise ConfigurationError(
            f"{name!r} is not a workflow name: a to z, 0 to 9, - and _, a letter first, at most 63 "
            f"characters, and not 'unknown'. It is the routing key of the items."
        )
    return name


def schema_text(kind: Kind) -> str | None:
    """The schema that lies beside the file, to begin with; None where none is needed."""
    schema = SCAFFOLDS[kind].schema
    return json.dumps(schema, indent=2) + "\n" if schema else None


@contextmanager
def written_last(path: Path, text: str, schema: str | None = None) -> Iterator[None]:
    """Creates the file at the end of the block, after its `schema`; a draft shows before it that
    it can be written. A schema that is there stays as it is.

    Raises:
        ConfigurationError: it cannot be written; the block was not entered.
    """
    draft = path.with_suffix(".toml.new")
    beside = path.with_suffix(".schema.json")
    try:
        draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written from here ({error.strerror}), and its queues are not"
            " declared. Create the file from elsewhere, then run `hitl prepare`"
            " (compose: docker compose run --rm migrate); see docs/build/workflows.md"
        ) from None
    try:
        yield
        if schema is not None and not beside.exists():
            beside.write_text(schema, encoding="utf-8")
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


def labels_of(model: str) -> tuple[str, ...] | None:
    """The labels of the embedded model or of one in a folder; None for a hub id.

    Raises:
        ConfigurationError: there is no such folder, or it has no model.
    """
    if model == EMBEDDED:
        return EMBEDDED_LABELS
    folder = Path(model)
    if not folder.is_dir():
        if model.startswith((".", "/", "~")):
            raise ConfigurationError(f"{model}: no such folder")
        return None
    for file, read in (
        ("calibration.json", lambda told: told["labels"]),
        (
            "config.json",
            lambda told: of_model(
                {int(number): name for number, name in told["id2label"].items()},
                len(told["id2label"]),
            ),
        ),
    ):
        try:
            return distinct(tuple(map(str, read(json.loads((folder / file).read_text("utf-8"))))))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise ConfigurationError(
        f"{model} has no model: neither calibration.json nor config.json has its labels"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
