"""Routes a scored item, and says why it goes there.

Pure: a policy, an item, its prediction and a time in, a `Route` with all its reasons out. The first
of these wins: a model or a time without a certificate (mode `certified`), the audit panel, a label
or a text that the machine must not decide, the first business rule that holds, the confidence. What
nobody predicted goes to people, but for an action that a rule approves.
"""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from services.router.draw import Draw, draw
from services.router.policy import Policy
from services.router.rules import Rule
from shared.answers.approval import approved
from shared.answers.base import Action, AnswerError
from shared.events.answered import AnswerItem, AnswerPrediction
from shared.events.live_policy import LiveRoute
from shared.events.models import Item, Prediction, RouteReason
from shared.labels import label_key
from shared.wording import compared

ReasonCode = Literal[
    "not_certified",  # nobody vouches for the machine: no certificate for this model and time
    "panel",  # drawn for the blind audit
    "always_review",  # the policy sends this label to people
    "no_prediction",  # nothing was predicted that could be accepted
    "unknown_label",  # the model named a label that the workflow does not have
    "not_fully_read",  # the model saw only part of the text
    "rule",  # a business rule says so
    "below_threshold",  # the model is not sure enough
    "confident",  # the model is sure enough
]


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
    prediction: Prediction | AnswerPrediction | None,
    salt: str,
    salt_version: str,
    now: datetime,
    steering: Steering | None = None,
) -> Route:
    """The route of one item: total, and the same for the same arguments.

    `steering` None: as if nothing had been heard from the certifier.
    """
    rule = policy.first_rule(item, prediction)
    if prediction is None:
        nothing = draw(salt, salt_version, workflow, item.id, 0.0)  # no answer to audit
        if rule is not None and _approves(policy, rule, item, now):
            by_rule = (_reason("rule", rule.text),)
            return Route("accept", by_rule, None, policy.version, nothing, False)
        reasons = [_reason("no_prediction", "nobody predicted an answer")]
        if rule is not None and rule.then == "review":
            reasons.append(_reason("rule", rule.text))
        return _for_people(policy, reasons, None, nothing, False, rule, now, None)
    steering = _for_model(steering or steer(policy, None, now), prediction.model_version)
    threshold, sure = _measured(policy, prediction, steering.threshold)
    sampling = draw(salt, salt_version, workflow, item.id, steering.panel_rate)
    reasons = _against(policy, prediction, steering, sampling, rule)
    if rule is not None and isinstance(item, AnswerItem) and item.action is not None:
        reasons += _against_approval(policy, rule, item, prediction, now)
    if not reasons and (sure or rule is not None):
        return Route(
            "accept",
            _in_favour(prediction.confidence, threshold, sure, rule),
            threshold,
            policy.version,
            sampling,
            sure,
            certificate_version=steering.certificate_version,
        )
    if threshold is not None and not sure:
        below = compared(prediction.confidence, "is below", threshold)
        reasons.append(_reason("below_threshold", below))
    certificate = steering.certificate_version
    return _for_people(policy, reasons, threshold, sampling, sure, rule, now, certificate)


def _for_people(
    policy: Policy,
    reasons: list[RouteReason],
    threshold: float | None,
    sampling: Draw,
    sure: bool,
    rule: Rule | None,
    now: datetime,
    certificate_version: str | None,
) -> Route:
    asks = _asking(rule, sampling)
    return Route(
        "review",
        tuple(reasons),
        threshold,
        policy.version,
        sampling,
        sure,
        queue=asks.queue if asks else "default",
        priority=asks.priority if asks else 0,
        due_at=now + timedelta(minutes=asks.due_minutes) if asks and asks.due_minutes else None,
        certificate_version=certificate_version,
    )


def _measured(
    policy: Policy, prediction: Prediction | AnswerPrediction, threshold: float | None
) -> tuple[float | None, bool]:
    """The threshold that decides, and whether the prediction reaches it: of all that is held
    against one, the one that is furthest below, or least above.

    Where names have thresholds of their own, each part is held against its own, or the common one.
    For what has no part stands the confidence of the whole.
    """
    if threshold is None:
        return None, False
    confidence, by_key = prediction.confidence, policy.thresholds_by_key
    if not by_key:
        return threshold, confidence >= threshold
    parts = prediction.certainties or {}
    said = {label_key(name): certainty for name, certainty in parts.items()}
    named = set(map(label_key, prediction.names))
    if parts and prediction.kind == "labels":
        named |= policy.label_keys  # that a label is absent must be sure, too
    held = [(said.get(key, confidence), by_key.get(key, threshold)) for key in {*said, *named}]
    if prediction.kind == "spans" or not held:
        held.append((confidence, threshold))  # no part says that nothing was overlooked
    certainty, asked = min(held, key=lambda each: (each[0] - each[1], -each[1]))
    return asked, certainty >= asked


def _for_model(steering: Steering, model_version: str) -> Steering:
    """What holds for an item that this model has scored."""
    certified = steering.model_version
    if certified is None or certified == model_version or steering.threshold is None:
        return steering
    return Steering(1.0, None, f"the certificate is for {certified}, not for {model_version}")


def _against(
    policy: Policy,
    prediction: Prediction | AnswerPrediction,
    steering: Steering,
    sampling: Draw,
    rule: Rule | None,
) -> list[RouteReason]:
    """All that sends the item to people however sure the model is."""
    reasons: list[RouteReason] = []
    if steering.threshold is None:
        reasons.append(_reason("not_certified", steering.why))
    if sampling.on_panel:
        reasons.append(_reason("panel", "drawn at random for the audit panel"))
    for name in prediction.names:
        key = label_key(name)
        if key in policy.review_keys:
            reasons.append(_reason("always_review", f"{name!r} always goes to people"))
        if policy.label_keys and key not in policy.label_keys:
            reasons.append(_reason("unknown_label", f"the workflow has no label {name!r}"))
    if prediction.truncated and not policy.accept_truncated:
        reasons.append(_reason("not_fully_read", "the model read only part of the text"))
    if rule is not None and rule.then == "review":
        reasons.append(_reason("rule", rule.text))
    return reasons


def _approves(policy: Policy, rule: Rule, item: Item, now: datetime) -> bool:
    """Whether the rule says yes to an action. Only an approval can be given without a prediction:
    what it says yes to lies in the item."""
    return (
        rule.then == "accept"
        and isinstance(item, AnswerItem)
        and item.action is not None
        and _hindrance(policy, item, item.action, now) is None
    )


def _hindrance(policy: Policy, item: AnswerItem, action: Action, now: datetime) -> str | None:
    """Why nobody but a person can say yes: it comes too late, or the arguments must be edited."""
    if item.expired(now):
        return "the action has expired"
    if policy.spec is not None:
        try:
            approved(action).checked(policy.spec, item.asked)
        except AnswerError as error:
            return f"the action's {error}"
    return None


def _against_approval(
    policy: Policy,
    rule: Rule,
    item: AnswerItem,
    prediction: Prediction | AnswerPrediction,
    now: datetime,
) -> list[RouteReason]:
    """Why a rule that accepts does not approve this action: its conditions are about the arguments
    that the program named, so that it cannot say yes to others, nor to a no."""
    if rule.then != "accept" or item.action is None:
        return []
    hindrance = _hindrance(policy, item, item.action, now)
    if hindrance is not None:
        return [_reason("rule", f"{rule.text}, but {hindrance}")]
    if isinstance(prediction, AnswerPrediction) and prediction.read == approved(item.action):
        return []
    return [_reason("rule", f"{rule.text}, but something else than the action is predicted")]


def _in_favour(
    confidence: float, threshold: float | None, sure: bool, rule: Rule | None
) -> tuple[RouteReason, ...]:
    """Why the machine may decide."""
    reasons = [] if rule is None else [_reason("rule", rule.text)]
    if threshold is not None and sure:
        reasons.append(_reason("confident", compared(confidence, "reaches", threshold)))
    return tuple(reasons)


def _asking(rule: Rule | None, sampling: Draw) -> Rule | None:
    """The rule whose queue, urgency and due time the task gets. Of a panel item they must not tell
    the reviewer what the model thinks."""
    if rule is None or rule.then != "review":
        return None
    return None if sampling.on_panel and rule.when.sees_the_prediction else rule


@lru_cache(maxsize=1_024)  # with two decimals, the same few texts come again and again
def _reason(code: ReasonCode, text: str) -> RouteReason:
    return RouteReason(code=code, text=text)
