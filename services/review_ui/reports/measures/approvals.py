"""Approvals: kappa of the verdicts, whatever the arguments; and how many are equal as a whole.
Pure."""

from collections.abc import Sequence

from services.review_ui.reports.agreement import agreed_by_habit, agreed_by_pool, beyond_chance
from services.review_ui.reports.measures.figures import Figure, Pair, figures
from shared.answers.approval import ApprovalAnswer
from shared.intervals import wilson


def measured(pairs: Sequence[Pair]) -> list[Figure]:
    """Of approve and reject."""
    given = [(_verdict(pair.one), _verdict(pair.other)) for pair in pairs]
    agreed = wilson(sum(one == other for one, other in given), len(given))
    whole = wilson(sum(pair.one.brief == pair.other.brief for pair in pairs), len(pairs))
    return figures(
        ("kappa", beyond_chance(agreed, agreed_by_habit(given))),
        ("alpha", beyond_chance(agreed, agreed_by_pool(given))),
        ("exact_match", whole),
    )


def _verdict(answer: object) -> str:
    if not isinstance(answer, ApprovalAnswer):
        raise TypeError(f"no verdict: {type(answer).__name__}")
    return answer.verdict
