"""Routes the same items again under another policy, and compares. Pure.

The error among what the machine would have accepted is known from the audits only: each answer
stands for the items that had the same chance to be asked (Horvitz & Thompson 1952; the sizes of the
strata are known, so each is weighted by its own). Nobody's answer is guessed.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.feedback.certificate.certify import clopper_pearson_upper
from services.feedback.reports.queueing import BREAK, QueueDelay, queue_delay
from services.router.policy import Policy
from services.router.route import Steering, route
from shared.events.answered import AnswerPrediction
from shared.events.models import Item, Prediction

_RISK = 0.05  # of the interval
_PROGRESS_ITEMS = 20_000
OnProgress = Callable[[int], None]  # how many items so far


@dataclass(frozen=True, slots=True)
class PastItem:
    """A routed item as the log has it.

    `probability`: with which people were asked about it by the policy of then: 1 where its score or
    a rule asked for them, the panel's rate where only the panel did; 0 where nobody could be.
    `by_panel`: the machine would have accepted it, and only the panel asked people. `sure`: its
    score speaks for that (not a rule). `u`: its number in the panel's draw; None in old
    logs. `erased`: text and metadata are gone; `lost`: what was predicted is, too. `corrected`
    (people's answer is another than the machine's; None: no answer is known), `shown` and `seconds`
    are of the people's last answer.
    """

    item: Item
    prediction: Prediction | AnswerPrediction | None
    routed_at: datetime
    accepted: bool
    by_panel: bool
    sure: bool
    probability: float
    u: float | None
    erased: bool = False
    lost: bool = False
    corrected: bool | None = None
    shown: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorEstimate:
    """The error among accepted items that could be asked about.

    `rate` is None where no answer is known. `low` and `high`: a 95 % interval, exact in each
    stratum and shared out between them, so that it holds for few answers too. `unknown` items had
    no chance of an answer, or nobody has answered: nothing is said about them. `open_audits` are
    those of the `unanswered` that only the panel sent: the interval holds whatever they turn out
    to be, the rate may be too low, because people take longer over errors.
    """

    rate: float | None
    low: float | None
    high: float | None
    labels: int
    errors: int
    shown: int
    unknown: int
    unanswered: int
    open_audits: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What would have been; `then` is what was. `left_out`: erased items, of which the policy's
    rules cannot be asked. `by_day`: day (UTC) → reviews then, reviews now."""

    policy_version: str
    first: datetime | None
    last: datetime | None
    items: int
    left_out: int
    accepted_then: int
    accepted: int
    reviews_then: int
    reviews: int
    automation_then: float | None
    automation: float | None
    error_then: ErrorEstimate
    error: ErrorEstimate
    by_day: dict[str, tuple[int, int]]
    reviews_a_day: float | None
    queue: QueueDelay | None
    notes: list[str]


@dataclass(slots=True)
class _Stratum:
    """Items with the same chance of an answer."""

    items: int = 0
    labels: int = 0
    errors: int = 0
    shown: int = 0
    unanswered: int = 0


@dataclass(slots=True)
class _Accepted:
    """What is accepted under a policy, by chance of an answer."""

    strata: dict[tuple[float, bool], _Stratum] = field(default_factory=dict)

    def add(self, past: PastItem) -> None:
        # Where everybody was asked it does not matter why.
        key = (past.probability, past.sure and past.probability < 1.0)
        stratum = self.strata.setdefault(key, _Stratum())
        stratum.items += 1
        if past.corrected is not None:
            stratum.labels += 1
            stratum.errors += past.corrected
            stratum.shown += past.shown
        elif not past.accepted:
            stratum.unanswered += 1

    def estimate(self) -> ErrorEstimate:
        known = {key: each for key, each in self.strata.items() if each.labels}
        # Where everybody was asked, those who have not answered are unknown; in a sample, the
        # answered ones stand for them, and the interval has room for the worst.
        sizes = {key: each.labels if key[0] >= 1.0 else each.items for key, each in known.items()}
        total = sum(sizes.values())
        rate = low = high = None
        if total:
            risk = _RISK / 2.0 / len(known)
            weights = {key: size / total for key, size in sizes.items()}
            rate = sum(weights[key] * each.errors / each.labels for key, each in known.items())
            low = high = 0.0
            for key, each in known.items():
                waiting = each.unanswered if key[0] < 1.0 else 0
                asked, right = each.labels + waiting, each.labels - each.errors
                high += weights[key] * clopper_pearson_upper(each.errors + waiting, asked, risk)
                low += weights[key] * (1.0 - clopper_pearson_upper(right + waiting, asked, risk))
        everything = sum(each.items for each in self.strata.values())
        return ErrorEstimate(
            rate=rate,
            low=low,
            high=high,
            labels=sum(each.labels for each in known.values()),
            errors=sum(each.errors for each in known.values()),
            shown=sum(each.shown for each in known.values()),
            unknown=everything - total,
            unanswered=sum(each.unanswered for each in self.strata.values()),
            open_audits=sum(each.unanswered for key, each in self.strata.items() if key[0] < 1.0),
        )


def replay(
    history: Iterable[PastItem],
    policy: Policy,
    workflow: str,
    reviewers: int,
    progress: OnProgress = lambda done: None,
) -> Replayed:
    """Routes the history by `policy`, each item with its own number in the panel's draw.

    Mode `certified` is replayed as if the file's threshold were certified.

    Raises:
        ValueError: fewer than one reviewer.
    """
    reads_texts = _reads_texts(policy)
    steering = Steering(panel_rate=0.0, threshold=policy.threshold)  # the panel is drawn here
    then, now = _Accepted(), _Accepted()
    days: dict[str, list[int]] = {}
    arrivals: list[datetime] = []
    seconds: list[float] = []
    counted: Counter[str] = Counter()
    first: datetime | None = None
    last: datetime | None = None
    for past in history:
        counted["seen"] += 1
        if counted["seen"] % _PROGRESS_ITEMS == 0:
            progress(counted["seen"])
        if past.lost or (past.erased and reads_texts):
            counted["left_out"] += 1
            continue
        counted["items"] += 1
        first = past.routed_at if first is None else min(first, past.routed_at)
        last = past.routed_at if last is None else max(last, past.routed_at)
        chosen = route(
            policy, workflow, past.item, past.prediction, "", "", past.routed_at, steering
        )
        on_panel = past.u is not None and past.u < policy.panel.rate
        counted["without_draw"] += past.u is None
        accepted = chosen.route == "accept" and not on_panel
        if past.seconds:  # what was accepted unread took none
            seconds.append(past.seconds)
        day = days.setdefault(f"{past.routed_at:%Y-%m-%d}", [0, 0])
        day[0] += not past.accepted
        day[1] += not accepted
        counted["accepted_then"] += past.accepted
        counted["accepted"] += accepted
        if past.accepted or past.by_panel:
            then.add(past)
        if chosen.route == "accept":
            now.add(past)
        if not accepted:
            arrivals.append(past.routed_at)
    items = counted["items"]
    span = (
        1.0 if first is None or last is None else max(1.0, (last - first).total_seconds() / 86400)
    )
    queue = queue_delay(arrivals, seconds, reviewers)
    return Replayed(
        policy_version=policy.version,
        first=first,
        last=last,
        items=items,
        left_out=counted["left_out"],
        accepted_then=counted["accepted_then"],
        accepted=counted["accepted"],
        reviews_then=items - counted["accepted_then"],
        reviews=items - counted["accepted"],
        automation_then=counted["accepted_then"] / items if items else None,
        automation=counted["accepted"] / items if items else None,
        error_then=then.estimate(),
        error=now.estimate(),
        by_day={day: (before, after) for day, (before, after) in sorted(days.items())},
        reviews_a_day=(items - counted["accepted"]) / span if items else None,
        queue=queue,
        notes=_notes(policy, now.estimate(), counted, bool(arrivals) and not seconds, queue),
    )


def _reads_texts(policy: Policy) -> bool:
    """Whether a rule asks for what an erased item has no more: text, metadata or action."""
    return any(
        rule.when.text_matches is not None
        or rule.when.min_characters is not None
        or rule.when.max_characters is not None
        or rule.when.metadata
        or rule.when.action
        or rule.when.argument
        for rule in policy.rules
    )


def _notes(
    policy: Policy,
    error: ErrorEstimate,
    counted: Counter[str],
    unmeasured: bool,
    queue: QueueDelay | None,
) -> list[str]:
    notes = []
    if policy.mode == "certified":
        notes.append(
            f"mode certified is replayed as if {policy.threshold:g} were certified; until a "
            "threshold is, everything goes to people"
        )
    if counted["left_out"]:
        notes.append(
            f"{counted['left_out']} items are left out: they are erased, and with them what the "
            "policy or its rules are about"
        )
    if error.unknown:
        notes.append(
            f"of {error.unknown} items that the policy would accept nothing is known: nobody was "
            "asked, or has answered. The error is that of the others"
        )
    if error.open_audits:
        notes.append(
            f"{error.open_audits} audits have no answer: people take longer over errors, so that "
            "the rate may be too low. The interval holds whatever they turn out to be"
        )
    if error.shown:
        notes.append(
            f"{error.shown} of the {error.labels} answers are of people who saw the AI's label: "
            "they miss errors"
        )
    if counted["without_draw"]:
        notes.append(f"{counted['without_draw']} items have no number for the panel's draw")
    if queue is not None and queue.breaks:
        notes.append(
            f"{queue.breaks} answers took more than {BREAK:g} times the median: taken for breaks, "
            "and left out of the reviewers' time"
        )
    if unmeasured:
        notes.append("no review time was measured, so that no delay can be given")
    return notes
