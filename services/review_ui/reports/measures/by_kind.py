"""Which measures there are of which kind of answer. Pure."""

from collections.abc import Callable, Mapping, Sequence

from services.review_ui.reports.measures import (
    approvals,
    forms,
    labels,
    preferences,
    spans,
    texts,
)
from services.review_ui.reports.measures.figures import Figure, Pair
from shared.answers.base import Kind

MEASURED: Mapping[Kind, Callable[[Sequence[Pair]], list[Figure]]] = {
    "labels": labels.measured,
    "spans": spans.measured,
    "form": forms.measured,
    "text": texts.measured,
    "preference": preferences.measured,
    "approval": approvals.measured,
}
"""Of every kind but label, whose kappa and alpha are in reports/quality.py."""
