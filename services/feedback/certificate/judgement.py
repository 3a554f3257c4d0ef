"""What follows from the evidence: what is watched, what is in doubt, how much is audited. Pure."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from services.feedback.certificate.panel import LOG_PATIENCE, Matured
from services.router.policy import Policy

SWITCH_ITEMS = 100  # so many in a row by another model: the model was changed
PANEL_RATE = 0.05  # where the file names none
WARNED_RATE = 0.25


def newest_model(versions: Sequence[str], current: str | None) -> str | None:
    """The model to certify, by the `versions` that scored the newest items: `current` while it is
    one of them, or they are too few to say that it is not; else the most frequent. None for none.
    """
    if current is not None and (current in versions or len(versions) < SWITCH_ITEMS):
        return current
    return max(set(versions), key=versions.count, default=None)


def watched_errors(matured: Matured, policy: Policy, threshold: float | None) -> list[bool]:
    """What the drift monitor watches: was the AI wrong in what it accepted under a certificate? In
    mode `fixed`: in what it would have accepted under the one that is only reported. (That the
    file's own threshold is too loose is no drift, and no reason to forget what was learnt.)"""
    if policy.mode == "fixed":
        least = math.inf if threshold is None else threshold
        return [wrong for item, wrong in matured.watched if item.score >= least]
    return [
        wrong
        for item, wrong in matured.watched
        if item.would_accept and item.certificate_version is not None
    ]


def at_the_file(policy: Policy, matured: Matured) -> str:
    """In mode `fixed`, how the file's threshold has done so far."""
    errors = matured.accepted_errors
    if policy.mode != "fixed" or not errors:
        return ""
    return (
        f"; of what the file's threshold accepts {sum(errors)} of {len(errors)} audits were wrong"
    )


def in_doubt(matured: Matured, now: datetime, sla: timedelta) -> str | None:
    """Why a certificate may not be used now, though nothing speaks against it: its audits have
    stopped. It comes back with them. None while all is well."""
    hours = sla.total_seconds() / 3_600
    if matured.watermark is None or now - matured.watermark > sla + LOG_PATIENCE:
        return f"the labels of more than {hours:g} hours are missing (watermark)"
    if not matured.items or now - matured.items[-1].routed_at > sla + LOG_PATIENCE:
        return f"no audit was done of anything that was routed in the last {hours:g} hours"
    return None


def panel_rate(policy: Policy, *, certified: bool, warned: bool) -> float:
    """q from now on: all where everything goes to people, more for a week after a warning; in mode
    `fixed` what the file says, which may be nothing."""
    if policy.mode == "certified" and not certified:
        return 1.0
    rate = policy.panel.rate
    if policy.mode == "certified":
        rate = rate or PANEL_RATE
    return max(rate, WARNED_RATE) if warned and rate > 0 else rate
