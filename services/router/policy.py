"""The policy of a workflow: the `[policy]` section of its file, checked.

Pure. What it makes of an item says `route.py`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from services.router.field_checks import slips
from services.router.rules import KnownLabel, Rule, Share, keys_of
from services.router.values import Number, Section
from shared.answers.approval import VERDICTS
from shared.answers.base import AnswerSpec, digest
from shared.errors import ConfigurationError
from shared.events.answered import AnswerPrediction
from shared.events.models import Item, Prediction
from shared.labels import label_key
from shared.workflows.files import WorkflowFile

_VERSION_DIGITS = 12


class Panel(Section):
    """The audit panel: a random share of all items that people review blind."""

    rate: Share = 0.0


class CertificateTerms(Section):
    """What the certifier is asked to guarantee, with what evidence."""

    alpha: Number = Field(0.02, gt=0, le=0.5, description="tolerated error among accepted items")
    delta: Number = Field(0.10, gt=0, lt=1, description="tolerated risk of a wrong certificate")
    max_age_days: Number = Field(30.0, gt=0, le=3_650, description="then evidence starts afresh")
    sla_hours: Number = Field(72.0, gt=0, le=8_760, description="an audit later than that is wrong")


class Policy(Section):
    """The `[policy]` section of a workflow file, checked. Build it with `from_mapping`.

    In mode `certified` the machine decides at a certified threshold only; `threshold` is then the
    wished one, and what could let the machine decide past a certificate is refused.
    """

    mode: Literal["fixed", "certified"] = "fixed"
    threshold: Share
    certificate: CertificateTerms = CertificateTerms()
    label_thresholds: Mapping[KnownLabel, Share] = Field(default_factory=dict)
    always_review: tuple[KnownLabel, ...] = ()
    accept_truncated: Annotated[bool, Field(strict=True)] = False
    panel: Panel = Panel()
    rules: tuple[Rule, ...] = ()
    _labels: frozenset[str] = PrivateAttr(default=frozenset())
    _spec: AnswerSpec | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _nothing_passes_a_certificate(self) -> Self:
        if self.mode == "fixed":
            return self
        found = [f"the rule {rule.name!r} accepts" for rule in self.rules if rule.then == "accept"]
        found += ["label_thresholds are given"] if self.label_thresholds else []
        found += ["accept_truncated is true"] if self.accept_truncated else []
        if found:
            raise ValueError(
                "mode = 'certified' lets the machine decide by the certified threshold only, but "
                + " and ".join(found)
            )
        return self

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, object],
        labels: Sequence[str] = (),
        spec: AnswerSpec | None = None,
    ) -> "Policy":
        """The policy that `mapping` describes, for a workflow with these labels (empty: any) that
        asks for `spec` (None: nobody knows; a condition on any kind of answer is taken).

        Raises:
            ConfigurationError: lists every problem, one a line.
        """
        problems = _repeated_names(mapping)
        kind = spec and spec.kind
        names = VERDICTS if kind == "approval" else tuple(labels)
        if kind == "text":
            problems += [
                f"{key}: means nothing where answer = 'text': no part of a text has a name"
                for key in ("label_thresholds", "always_review")
                if mapping.get(key)
            ]
        try:
            policy = cls.model_validate(dict(mapping), context={"labels": names, "kind": kind})
        except ValidationError as error:
            for wrong in error.errors(include_url=False):
                problems.append(f"{_where(wrong['loc'], mapping)}: {_what(wrong)}")
            policy = None
        if policy is None or problems:
            raise ConfigurationError("\n".join(problems))
        if spec is not None:
            found = slips(spec, policy.label_thresholds, policy.always_review, policy.rules)
            if problems := list(found):
                raise ConfigurationError("\n".join(problems))
        policy._labels, policy._spec = frozenset(labels), spec
        twice = len(policy.label_thresholds) - len(policy.thresholds_by_key)
        if twice:
            raise ConfigurationError("label_thresholds: two keys name the same label")
        return policy

    @classmethod
    def of_file(cls, content: WorkflowFile, path: Path | None = None) -> "Policy":
        """The policy in a workflow's file, for the labels in it.

        Raises:
            ConfigurationError: lists every problem, one a line, with `path` in front.
        """
        workflow = content.workflow
        try:
            policy = cls.from_mapping(content.policy, workflow.labels, workflow.spec)
            if policy.mode == "certified" and not workflow.review.adjudicate_panel_disagreements:
                raise ConfigurationError(
                    "mode: 'certified' needs [review] adjudicate_panel_disagreements = true: a "
                    "slip of a reviewer would count as an error of the machine"
                )
        except ConfigurationError as error:
            if path is None:
                raise
            listed = "\n".join(f"{path}: {problem}" for problem in str(error).split("\n"))
            raise ConfigurationError(listed) from None
        return policy

    @cached_property
    def version(self) -> str:
        """The first 12 hex digits of the SHA-256 of the content: sorted keys, defaults left out."""
        return _content_digest(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    @cached_property
    def population(self) -> str:
        """A digest of all that says which items a certificate speaks of and what it promises: where
        it changes, old evidence counts no more. Thresholds and the panel's rate are not in it."""
        forming = {"always_review", "accept_truncated", "rules"}
        content = self.model_dump(mode="json", by_alias=True, include=forming)
        terms = {"alpha": self.certificate.alpha, "delta": self.certificate.delta}
        asked = self.spec
        if asked is not None and asked.kind != "label":
            content["answer"] = [asked.kind, asked.overlap, asked.schema and digest(asked.schema)]
        return _content_digest({**content, **terms, "labels": sorted(self._labels)})

    def first_rule(
        self, item: Item, prediction: Prediction | AnswerPrediction | None
    ) -> Rule | None:
        """The rule that decides: the first whose conditions all hold."""
        for rule in self.rules:
            if rule.when.holds(item, prediction):
                return rule
        return None

    @cached_property
    def _comparing(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.when.compares)

    def incomparable(
        self, item: Item, prediction: Prediction | AnswerPrediction | None
    ) -> list[Rule]:
        """The rules that test a value of this item which is of another kind than theirs: whatever
        it is, they do not hold."""
        return [rule for rule in self._comparing if not rule.when.comparable(item, prediction)]

    @property
    def spec(self) -> AnswerSpec | None:
        """What the workflow asks for; None: nobody knows."""
        return self._spec

    # By the labels' keys, and cached: private attributes are slow.
    @cached_property
    def label_keys(self) -> frozenset[str]:
        """The workflow's labels; empty for any."""
        return keys_of(self._labels)

    @cached_property
    def review_keys(self) -> frozenset[str]:
        """The labels that always go to people."""
        return keys_of(self.always_review)

    @cached_property
    def thresholds_by_key(self) -> dict[str, float]:
        """The thresholds of single labels."""
        return {label_key(label): share for label, share in self.label_thresholds.items()}


def _content_digest(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_VERSION_DIGITS]


def _repeated_names(mapping: Mapping[str, object]) -> list[str]:
    """Checked on the raw content, so that it is reported beside the other problems."""
    rules = mapping.get("rules")
    names = [
        rule["name"]
        for rule in (rules if isinstance(rules, list | tuple) else ())
        if isinstance(rule, Mapping) and isinstance(rule.get("name"), str)
    ]
    repeated = sorted({name for name in names if names.count(name) > 1})
    return [f"rules: {names.count(name)} rules are named {name!r}" for name in repeated]


def _where(location: tuple[int | str, ...], mapping: Mapping[str, object]) -> str:
    """`rules.refunds.priority`: a rule goes by its name where it has one, else by its place."""
    steps = [str(step) for step in location if step != "[key]"]
    if len(location) > 1 and location[0] == "rules" and isinstance(location[1], int):
        rules = mapping["rules"]
        rule = rules[location[1]] if isinstance(rules, list | tuple) else None
        name = rule.get("name") if isinstance(rule, Mapping) else None
        steps[1] = name if isinstance(name, str) else f"{location[1] + 1}"
    return ".".join(steps) or "policy"


def _what(wrong: ErrorDetails) -> str:
    if wrong["type"] == "extra_forbidden":
        return "no such key"
    said = wrong["msg"].removeprefix("Value error, ")
    given = wrong["input"]
    return f"{said}, not {given!r}" if isinstance(given, int | float) else said
