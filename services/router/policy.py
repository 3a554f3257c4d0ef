"""Where does a scored item go, and why?

Pure: a policy, an item, its prediction and a time in, a `Route` with all its reasons out. The first
of these wins: a model or a time without a certificate (mode `certified`), the audit panel, a label
or a text that the machine must not decide, the first business rule that holds, the confidence.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from services.router.rules import KnownLabel, Number, Rule, Section, Share
from shared.errors import ConfigurationError
from shared.events.live_policy import LiveRoute
from shared.events.models import Item, Prediction, RouteReason
from shared.hashing import hash01
from shared.labels import label_key
from shared.wording import compared
from shared.workflows.files import WorkflowFile

ReasonCode = Literal[
    "not_certified",  # nobody vouches for the machine: no certificate for this model and time
    "panel",  # drawn for the blind audit
    "always_review",  # the policy sends this label to people
    "unknown_label",  # the model named a label that the workflow does not have
    "not_fully_read",  # the model saw only part of the text
    "rule",  # a business rule says so
    "below_threshold",  # the model is not sure enough
    "confident",  # the model is sure enough
]
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
    def from_mapping(cls, mapping: Mapping[str, object], labels: Sequence[str] = ()) -> "Policy":
        """The policy that `mapping` describes, for a workflow with these labels (empty: any).

        Raises:
            ConfigurationError: lists every problem, one a line.
        """
        problems = _repeated_names(mapping)
        try:
            policy = cls.model_validate(dict(mapping), context={"labels": tuple(labels)})
        except ValidationError as error:
            for wrong in error.errors(include_url=False):
                problems.append(f"{_where(wrong['loc'], mapping)}: {_what(wrong)}")
            policy = None
        if policy is None or problems:
            raise ConfigurationError("\n".join(problems))
        policy._labels = frozenset(labels)
        twice = len(policy.label_thresholds) - len(policy.thresholds_by_key)
        if twice:
            raise ConfigurationError("label_thresholds: two keys name the same label")
        return policy

    @classmethod
    def of_file(cls, content: WorkflowFile, labels: Sequence[str] | None = None) -> "Policy":
        """The policy in a workflow's file, for these labels or else for those in the same file.

        Raises:
            ConfigurationError: lists every problem, one a line.
        """
        policy = cls.from_mapping(
            content.policy, content.workflow.labels if labels is None else labels
        )
        if (
            policy.mode == "certified"
            and not content.workflow.review.adjudicate_panel_disagreements
        ):
            raise ConfigurationError(
                "mode: 'certified' needs [review] adjudicate_panel_disagreements = true: a slip of "
                "a reviewer would count as an error of the machine"
            )
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
        return _content_digest({**content, **terms, "labels": sorted(self._labels)})

    def first_rule(self, item: Item, prediction: Prediction) -> Rule | None:
        """The rule that decides: the first whose conditions all hold."""
        for rule in self.rules:
            if rule.when.holds(item, prediction):
                return rule
        return None

    @cached_property
    def _with_metadata(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.when.metadata)

    def incomparable(self, item: Item) -> list[Rule]:
        """The rules that test a metadata value of this item which is of another kind than theirs:
        whatever it is, they do not hold."""
        return [rule for rule in self._with_metadata if not rule.when.comparable(item)]

    # By the labels' keys, and cached: private attributes are slow.
    @cached_property
    def label_keys(self) -> frozenset[str]:
        """The workflow's labels; empty for any."""
        return frozenset(map(label_key, self._labels))

    @property
    def labels(self) -> tuple[str, ...]:
        """The workflow's labels, by alphabet; empty for any."""
        return tuple(sorted(self._labels))

    @cached_property
    def review_keys(self) -> frozenset[str]:
        """The labels that always go to people."""
        return frozenset(map(label_key, self.always_review))

    @cached_property
    def thresholds_by_key(self) -> dict[str, float]:
        """The thresholds of single labels."""
        return {label_key(label): share for label, share in self.label_thresholds.items()}


class Draw(NamedTuple):
    """What `shared.events.models.Sampling` states; a tuple, because a model costs four times as
    much."""

    u: float
    q: float
    salt_version: str
    on_panel: bool


class Route(NamedTuple):
    """Where an item goes. `reasons` are all that speak for it, the deciding one first.

    `would_accept` says what the confidence alone would have done; `due_at` is None for no deadline,
    `threshold` for none that is certified.
    """

    route: Literal["accept", "review"]
    reasons: tuple[RouteReason, ...]
    threshold: float | None
    policy_version: str
    sampling: Draw
    would_accept: bool
    queue: str = "default"
    priority: int = 0
    due_at: datetime | None = None
    certificate_version: str | None = None

    @property
    def blind(self) -> bool:
        """Whoever audits the machine must not see its answer (anchoring: arXiv 2507.15821)."""
        return self.sampling.on_panel


class Steering(NamedTuple):
    """What holds for a workflow at this moment; computed once for many items.

    `threshold` None: the machine accepts nothing, and `why` says why. `model_version`: the only
    model that may decide; None for any.
    """

    panel_rate: float
    threshold: float | None
    why: str = ""
    model_version: str | None = None
    certificate_version: str | None = None


def steer(policy: Policy, live: LiveRoute | None, now: datetime) -> Steering:
    """What the file and the certifier say together; whatever is in doubt goes to people.

    In mode `fixed` the certifier can only raise the panel's rate, where there is a panel. In mode
    `certified` a threshold needs a certificate that is still good, of this population and for
    terms no weaker than the file's; without one everything is reviewed blind (rate 1).
    """
    fresh = live is not None and now < live.valid_until
    if policy.mode == "fixed":
        rate = policy.panel.rate
        if rate > 0 and live is not None and fresh:
            rate = max(rate, live.panel_rate)
        return Steering(rate, policy.threshold)
    terms = policy.certificate
    if live is None:
        return Steering(1.0, None, "nothing has been heard from the certifier yet")
    if not fresh:
        return Steering(1.0, None, f"nothing heard from the certifier since {live.valid_until:%c}")
    if live.state != "certified" or live.threshold is None:
        return Steering(1.0, None, live.reason)
    if live.population != policy.population:
        return Steering(1.0, None, "the certificate is for another version of this policy")
    if live.alpha > terms.alpha or live.delta > terms.delta:
        return Steering(1.0, None, "the certificate promises less than the policy asks for")
    return Steering(
        panel_rate=live.panel_rate,
        threshold=max(live.threshold, live.certified_threshold or 1.0),
        model_version=live.model_version,
        certificate_version=live.certificate_version,
    )


def route(
    policy: Policy,
    workflow: str,
    item: Item,
    prediction: Prediction,
    salt: str,
    salt_version: str,
    now: datetime,
    steering: Steering | None = None,
) -> Route:
    """The route of one item: total, and the same for the same arguments.

    `steering` None: as if nothing had been heard from the certifier.
    """
    label, confidence = prediction.label, prediction.confidence
    rate, threshold, why, model, certificate = steering or steer(policy, None, now)
    reasons: list[RouteReason] = []
    if threshold is not None and model is not None and prediction.model_version != model:
        rate, threshold, certificate = 1.0, None, None
        why = f"the certificate is for {model}, not for {prediction.model_version}"
    if threshold is None:
        reasons.append(_reason("not_certified", why))
        sure = False
    else:
        threshold = policy.thresholds_by_key.get(label_key(label), threshold)
        sure = confidence >= threshold
    sampling = draw(salt, salt_version, workflow, item.id, rate)
    rule = policy.first_rule(item, prediction)

    if sampling.on_panel:
        reasons.append(_reason("panel", "drawn at random for the audit panel"))
    if label_key(label) in policy.review_keys:
        reasons.append(_reason("always_review", f"{label!r} always goes to people"))
    if policy.label_keys and label_key(label) not in policy.label_keys:
        reasons.append(_reason("unknown_label", f"the workflow has no label {label!r}"))
    if prediction.truncated and not policy.accept_truncated:
        reasons.append(_reason("not_fully_read", "the model read only part of the text"))
    if rule is not None and rule.then == "review":
        reasons.append(_reason("rule", rule.text))

    if reasons or not (sure or rule is not None):
        if threshold is not None and not sure:
            reasons.append(_reason("below_threshold", compared(confidence, "is below", threshold)))
        asks = rule if rule is not None and rule.then == "review" else None
        if asks is not None and sampling.on_panel and asks.when.sees_the_prediction:
            asks = None  # its queue and its urgency would tell the reviewer what the model thinks
        return Route(
            route="review",
            reasons=tuple(reasons),
            threshold=threshold,
            policy_version=policy.version,
            sampling=sampling,
            would_accept=sure,
            queue=asks.queue if asks else "default",
            priority=asks.priority if asks else 0,
            due_at=now + timedelta(minutes=asks.due_minutes) if asks and asks.due_minutes else None,
            certificate_version=certificate,
        )
    if rule is not None:
        reasons.append(_reason("rule", rule.text))
    if threshold is not None and sure:
        reasons.append(_reason("confident", compared(confidence, "reaches", threshold)))
    return Route(
        route="accept",
        reasons=tuple(reasons),
        threshold=threshold,
        policy_version=policy.version,
        sampling=sampling,
        would_accept=sure,
        certificate_version=certificate,
    )


def draw(salt: str, salt_version: str, workflow: str, item_id: str, rate: float) -> Draw:
    """The panel's draw. An item keeps its number for good, so a higher rate only adds items.

    The workflow is part of what is hashed, because an item is its workflow and its id: the same
    ids in two workflows are drawn independently. The prediction is not.
    """
    u = hash01(salt, workflow, item_id)
    return Draw(u, rate, salt_version, u < rate)


def _content_digest(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_VERSION_DIGITS]


@lru_cache(maxsize=1_024)  # with two decimals, the same few texts come again and again
def _reason(code: ReasonCode, text: str) -> RouteReason:
    return RouteReason(code=code, text=text)


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
