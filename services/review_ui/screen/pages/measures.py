"""The dashboard's tables of people's quality, over services/review_ui/reports/quality.py.

Leads see everybody's figures, reviewers only their own accuracy, put so that it never tells which
items were gold ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from services.review_ui.api.context import RequestContext
from services.review_ui.auth.accounts import Account
from services.review_ui.reports import quality
from services.review_ui.reports.quality import Accuracy, Agreement, SecondReviews, WithAi
from services.review_ui.reports.stale_cache import StaleCache
from services.review_ui.screen.pages import frame
from services.review_ui.screen.pages.frame import Words, i18n
from shared.intervals import Interval

_TABLE: dict[str, Any] = {"datatype": "str", "interactive": False, "buttons": []}
_AGREEMENT = ("workflow", "twice", "same", "kappa", "alpha")
_FIGURES = ("workflow", "measure", "measured_of", "figure")
_CHECKS = ("workflow", "second_share", "disagreement", "settled", "disputed_now", "flagged_now")
_WITH_AI = ("workflow", "ai_seen", "answers", "ai_blind", "answers")
_KNOWN = ("workflow", "reviewer", "answers", "accuracy")


@dataclass(frozen=True, slots=True)
class _Measured:
    """One workflow's figures; a reviewer's has only the accuracy."""

    workflow: str
    accuracy: list[Accuracy]
    team: tuple[Agreement, SecondReviews, WithAi] | None


def build() -> list[Any]:
    """The tables, in the order in which `reader` fills them."""
    made: list[Any] = [
        gr.Dataframe(label=i18n(name), elem_id=name.replace("_", "-"), visible=False, **_TABLE)
        for name in ("people_agree", "answers_agree", "checks", "with_ai")
    ]
    return [*made, gr.Dataframe(label=i18n("known_items"), elem_id="known-items", **_TABLE)]


def reader(context: RequestContext) -> Callable[[Account, str, Words], list[Any]]:
    """What fills the tables for an account and a period of `frame.PERIODS`."""
    cache = StaleCache[list[_Measured]]()

    def show(account: Account, period: str, words: Words) -> list[Any]:
        everybody = account.is_lead
        # A reviewer's own figures have one period: another one's difference could tell.
        question = (period, None) if everybody else ("ever", account.name)
        found = cache.get(question, lambda: _read(context, account, period))
        rows = [(each.workflow, *each.team) for each in found if each.team is not None]
        agree = [_agreement(name, agreed, words) for name, agreed, _, _ in rows]
        figures = [line for name, agreed, _, _ in rows for line in _figures(name, agreed, words)]
        checks = [_checks(name, second) for name, _, second, _ in rows]
        ai = [_ai(name, with_ai) for name, _, _, with_ai in rows]
        known = [_known(each.workflow, one) for each in found for one in each.accuracy]
        return [
            _table(_AGREEMENT, agree, words, everybody),
            _table(_FIGURES, figures, words, everybody and bool(figures)),
            _table(_CHECKS, checks, words, everybody),
            _table(_WITH_AI, ai, words, everybody),
            _table(_KNOWN, known, words, bool(known)),
        ]

    return show


def _read(context: RequestContext, account: Account, period: str) -> list[_Measured]:
    now, since = context.clock(), frame.since(context, period)
    found: list[_Measured] = []
    with context.transaction() as session:
        for name in context.seen_by(account):
            if account.is_lead:
                team = (
                    quality.agreement(session, name, since),
                    quality.second_reviews(session, name, since),
                    quality.with_ai(session, name, since),
                )
                found.append(_Measured(name, quality.accuracy(session, name, since), team))
            else:
                own = quality.own_accuracy(session, name, account.name, now)
                found.append(_Measured(name, [] if own is None else [own], None))
    return found


def _table(columns: tuple[str, ...], rows: list[list[str]], words: Words, visible: bool) -> Any:
    return gr.Dataframe(frame.table(columns, rows, words), visible=visible)


def _agreement(workflow: str, agreed: Agreement, words: Words) -> list[str]:
    enough = agreed.items >= quality.ENOUGH_ITEMS
    figures = [
        frame.percent(agreed.percent),
        _coefficient(agreed.kappa_interval),
        _coefficient(agreed.alpha_interval),
    ]
    shown = figures if enough else [words["not_enough"]] * len(figures)
    return [workflow, f"{agreed.items:,}", *shown]


def _figures(workflow: str, agreed: Agreement, words: Words) -> list[list[str]]:
    """A line for each number of another kind than one label; of few items none."""
    if agreed.items < quality.ENOUGH_ITEMS:
        return []
    return [
        [workflow, words[each.name], each.part or "", _coefficient(each.interval)]
        for each in agreed.figures
    ]


def _checks(workflow: str, second: SecondReviews) -> list[str]:
    return [
        workflow,
        f"{frame.percent(second.share)} ({second.second:,} / {second.items:,})",
        f"{frame.percent(second.disagreement)} ({second.disagreed:,} / {second.second:,})",
        f"{second.adjudicated:,}",
        f"{second.disputed:,}",
        f"{second.flagged:,}",
    ]


def _ai(workflow: str, found: WithAi) -> list[str]:
    seen, blind = (_rate(found.shown), f"{found.shown_count:,}"), _rate(found.blind)
    return [workflow, *seen, blind, f"{found.blind_count:,}"]


def _known(workflow: str, found: Accuracy) -> list[str]:
    return [workflow, found.reviewer, f"{found.count:,}", _rate(found.interval)]


def _rate(found: Interval | None) -> str:
    if found is None:
        return frame.NOTHING
    return f"{frame.percent(found.rate)} ({found.low * 100:.0f}-{found.high * 100:.0f} %)"


def _coefficient(found: Interval | None) -> str:
    if found is None:
        return frame.NOTHING
    return f"{found.rate:.2f} ({found.low:.2f} … {found.high:.2f})"
