"""Reads workflow files: which there are, and what each says.

One TOML file per workflow. `[workflow]` and `[review]` are read here; `[policy]` is handed on as it
stands to the router, whose policy module alone knows what it means.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from shared.answers.base import KINDS, AnswerSpec, Kind
from shared.errors import ConfigurationError, problems_of
from shared.events.models import WORKFLOW_NAME, Label, Probability, WorkflowName
from shared.labels import distinct
from shared.service.settings import Settings
from shared.suggestions import did_you_mean

_NAME = re.compile(WORKFLOW_NAME)


EMBEDDED = "embedded"
NO_MODEL = "none"
_LABELLED = frozenset({"label", "labels", "spans"})


def _distinct(labels: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return distinct(labels)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


class ReviewRules(BaseModel):
    """How the work of people is checked; the shares are 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    second_review_share: Probability = 0.0
    adjudicate_panel_disagreements: bool = True
    seeded_share: Probability = 0.0


class Workflow(BaseModel):
    """A workflow's name, what it asks for, its labels in model order, its model and what reviewers
    are told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: WorkflowName
    answer: Kind = "label"
    labels: Annotated[tuple[Label, ...], AfterValidator(_distinct)] = Field(
        default=(), description="empty: as the model names them"
    )
    model: Annotated[str, StringConstraints(min_length=1)] = Field(
        default=EMBEDDED, description='"none": what is predicted comes with the items, if at all'
    )
    form_schema: Mapping[str, object] | None = Field(
        default=None,
        alias="schema",
        description="JSON Schema 2020-12 of a form or of an approval's arguments; in the file the "
        "path of one, from its folder",
    )
    overlap: bool = Field(default=False, description="spans may overlap")
    producer_predictions: bool = Field(
        default=False, description="a prediction that an item brings counts before the model's"
    )
    hypothesis: str = Field(
        default="", description="for a model of entailment: what it is asked, {} for the label"
    )
    guideline: str = ""
    review: ReviewRules = Field(default=ReviewRules(), description="the file's [review]")

    @field_validator("answer", mode="before")
    @classmethod
    def _known_kind(cls, given: object) -> object:
        if given in KINDS:
            return given
        meant = did_you_mean(given, KINDS) if isinstance(given, str) else ""
        raise _problem(f"there is no kind {given!r}, only {', '.join(KINDS)}{meant}")

    @model_validator(mode="before")
    @classmethod
    def _no_model_of_ours(cls, given: object) -> object:
        if isinstance(given, dict) and given.get("answer", "label") != "label":
            return {"model": NO_MODEL, **given}
        return given

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        if problems := list(self._contradictions()):
            raise _problem("; ".join(problems))
        return self

    def _contradictions(self) -> Iterator[str]:
        kind = self.answer
        nothing = f"means nothing where answer = {json.dumps(kind)}"
        if kind in _LABELLED and not self.labels and not self.has_model:
            yield "labels: name them, since there is no model that could"
        if kind == "label" and not self.labels and self.has_model and self.producer_predictions:
            # Else whoever decides blind would be offered what a producer has predicted.
            yield "labels: name them, since producers may predict others than the model's"
        if kind in ("labels", "spans") and not self.labels and self.has_model:
            yield f"labels: name them, which a model of {kind} must have"
        if kind not in _LABELLED:
            if self.labels:
                yield f"labels: {nothing}"
            if self.has_model:
                yield f'model: none of ours answers with {kind}: leave it out, or write "none"'
        elif kind != "label" and self.model == EMBEDDED:
            yield (
                'model: the embedded one answers with one label: name one of yours, or write "none"'
            )
        if kind == "form" and self.form_schema is None:
            yield "schema: name the file of the JSON Schema that the fields of the form have"
        if self.form_schema is not None and kind not in ("form", "approval"):
            yield f"schema: {nothing}"
        if self.overlap and kind != "spans":
            yield f"overlap: {nothing}"
        if self.hypothesis:
            yield from self._problems_of_the_hypothesis(nothing)

    def _problems_of_the_hypothesis(self, nothing: str) -> Iterator[str]:
        if self.answer not in ("label", "labels"):
            yield f"hypothesis: {nothing}"
        elif self.model in (EMBEDDED, NO_MODEL):
            yield f'hypothesis: "{self.model}" is no model of entailment: name one in model'
        elif len(self.labels) < (2 if self.answer == "label" else 1):
            yield "labels: name them, a hypothesis is made of each"
        rest = self.hypothesis.replace("{}", "")
        if self.hypothesis.count("{}") != 1 or set(rest) & set("{}"):
            yield "hypothesis: must have {} once, for the label, and no other braces"

    @property
    def has_model(self) -> bool:
        """Whether inference scores its items, or takes what they bring."""
        return self.model != NO_MODEL

    @property
    def spec(self) -> AnswerSpec:
        """What is asked for."""
        return AnswerSpec(
            kind=self.answer,
            labels=self.labels,
            overlap=self.overlap,
            schema=self.form_schema,
            predictions=self.producer_predictions or not self.has_model,
        )


class WorkflowFile(BaseModel):
    """A whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workflow: Workflow
    policy: Mapping[str, object] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _review_belongs_to_the_workflow(cls, tables: object) -> object:
        if not isinstance(tables, dict) or "review" not in tables:
            return tables
        rest = {name: table for name, table in tables.items() if name != "review"}
        own = rest.get("workflow")
        if not isinstance(own, dict) or "review" in own:
            return tables
        return {**rest, "workflow": {**own, "review": tables["review"]}}


def read_draft(path: Path) -> WorkflowFile:
    """A workflow file of any name: a draft is not called like the workflow.

    Raises:
        ConfigurationError: it cannot be read, is no TOML, or says something unknown.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return WorkflowFile.model_validate(_with_schema(tables, path.parent))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: its values are nested too deeply") from None
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {problems_of(error, 'file')}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _problem(said: str) -> PydanticCustomError:
    """A refusal in our own words alone."""
    return PydanticCustomError("workflow", "{said}", {"said": said})


def _with_schema(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tables of a file, with the JSON Schema that it names in the place of its path.

    Raises:
        ConfigurationError: the schema cannot be read, or is none.
    """
    table = tables.get("workflow")
    if not isinstance(table, dict) or "schema" not in table:
        return tables
    from shared.answers.schemas import checked_schema  # slow to import, and only forms need it

    named = table["schema"]
    if not isinstance(named, str):
        raise ConfigurationError(
            "workflow.schema: must be the path of a file, from this one's folder"
        )
    try:
        schema = checked_schema(json.loads((folder / named).read_text(encoding="utf-8")))
    except OSError as error:
        meant = did_you_mean(named, (each.name for each in folder.glob("*.json")))
        raise ConfigurationError(f"workflow.schema: {named}: {error.strerror}{meant}") from None
    except RecursionError:
        raise ConfigurationError(f"workflow.schema: {named}: is nested too deeply") from None
    except ValueError as error:
        raise ConfigurationError(f"workflow.schema: {named}: no JSON: {error}") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"workflow.schema: {named}: {error}") from None
    return {**tables, "workflow": {**table, "schema": schema}}


def read_workflow_file(path: Path) -> WorkflowFile:
    """The file of a workflow, which is called as its `[workflow] name` says.

    Raises:
        ConfigurationError: as `read_draft`, or it is called otherwise.
    """
    content = read_draft(path)
    if content.workflow.name != path.stem:
        raise ConfigurationError(
            f"{path}: [workflow] name is {content.workflow.name!r}, not the file's {path.stem!r}"
        )
    return content


def workflow_paths(directory: Path, names: Sequence[str] = ()) -> dict[str, Path]:
    """Name → file, of the named workflows or of all in the directory.

    Raises:
        ConfigurationError: there is none, or a named one is missing.
    """
    found = {path.stem: path for path in sorted(directory.glob("*.toml"))}
    missing = [name for name in names if name not in found]
    if missing or not found:
        what = f"no file for workflow {', '.join(missing)}" if missing else "no workflow (*.toml)"
        meant = "".join(did_you_mean(name, found) for name in missing)
        raise ConfigurationError(
            f"{what} in {directory}{meant or '; set HITL_WORKFLOWS_DIR or add one'}"
        )
    return {name: found[name] for name in (names or found)}


def configured_workflows(settings: Settings) -> dict[str, Workflow]:
    """The workflows that this process serves, by name."""
    paths = workflow_paths(settings.workflows_dir, settings.workflows)
    return {name: read_workflow_file(path).workflow for name, path in paths.items()}


class SettledFiles:
    """Notices files that changed and then stood still between two looks, so that a half-written
    one is never read. One that is gone counts as changed."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        """`paths` by name, as they are now."""
        self._paths = dict(paths)
        self._seen = {name: _content(path) for name, path in paths.items()}
        self._in_use = dict(self._seen)

    def add(self, name: str, path: Path) -> None:
        """One more file, to be named once it has stood still."""
        self._paths[name], self._seen[name], self._in_use[name] = path, _content(path), None

    def is_settled(self, name: str) -> bool:
        """Whether it is, as far as is known, what was read last."""
        return self._seen[name] == self._in_use[name]

    def changed(self) -> list[str]:
        """One look: the names whose new content is to be read now; each change is named once."""
        names = []
        for name, path in list(self._paths.items()):
            content = _content(path)
            settled = content == self._seen[name]
            self._seen[name] = content
            if settled and content != self._in_use[name]:
                self._in_use[name] = content
                names.append(name)
        return names


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def is_workflow_name(name: str) -> bool:
    """Whether a workflow may have this name."""
    return _NAME.fullmatch(name) is not None


def workflow_of(queue: str, routing_key: str) -> str:
    """Whose message this is: the queue `hitl.<workflow>.<stage>` says it, else the end of the
    routing key; "unknown" where neither names a possible workflow."""
    parts = queue.split(".")
    name = parts[1] if len(parts) == 3 else routing_key.rpartition(".")[2]
    return name if is_workflow_name(name) else "unknown"
