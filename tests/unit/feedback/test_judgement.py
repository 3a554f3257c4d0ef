"""Are certificates doubted when audits stop, models told apart, and rates what the stage needs?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.feedback.certificate.drift import detect
from services.feedback.certificate.judgement import (
    in_doubt,
    newest_model,
    panel_rate,
    watched_errors,
)
from services.feedback.certificate.panel import Matured, PanelItem, mature
from services.router.policy import Policy

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SLA = 24 * HOUR


def audit(
    hours_ago: float, *, score: float = 0.9, wrong: bool = False, certificate: str | None = "c"
) -> PanelItem:
    """An audit that was done at once."""
    routed = NOW - HOUR * hours_ago
    return PanelItem(
        item_id=f"{hours_ago} {score}",
        routed_at=routed,
        score=score,
        would_accept=score >= 0.7,
        eligible=True,
        ai_label="positive",
        model_version="m1",
        certificate_version=certificate,
        text_digest=None if wrong else f"{hours_ago} {score}".encode(),
        resolved_at=routed + timedelta(minutes=1),
        label="negative" if wrong else "positive",
    )


def done(*audits: PanelItem) -> Matured:
    return mature(audits, NOW, SLA, NOW)


def policy(**content: object) -> Policy:
    return Policy.from_mapping({"threshold": 0.5, **content})


def test_a_certificate_is_in_doubt_once_its_audits_stop() -> None:
    assert in_doubt(done(audit(30), audit(1)), NOW, SLA) is None
    assert "no audit was done" in str(in_doubt(done(audit(30)), NOW, SLA))
    assert "watermark" in str(in_doubt(done(), NOW, SLA))
    # a watermark that stands still, whatever made it stand
    stuck = mature([audit(1)], NOW - 30 * HOUR, SLA, NOW - 30 * HOUR)
    assert "watermark" in str(in_doubt(stuck, NOW, SLA))


@pytest.mark.parametrize(
    ("versions", "current", "model"),
    [
        ([], None, None),
        ([], "a", "a"),
        (["b"], None, "b"),
        (["b", "a", "b"], None, "b"),
        (["b"] * 99, "a", "a"),  # too few to say that it is gone
        (["b"] * 99 + ["a"], "a", "a"),
        (["b"] * 100, "a", "b"),
    ],
)
def test_a_model_is_replaced_once_it_is_gone(
    versions: list[str], current: str | None, model: str | None
) -> None:
    assert newest_model(versions, current) == model


def test_the_monitor_watches_what_was_accepted_under_a_certificate() -> None:
    # Given audits of all kinds / I expect those that a certificate accepted, in mode certified
    audits = done(
        audit(5, wrong=True, certificate=None),
        audit(4, score=0.6, wrong=True),
        audit(3),
        audit(2, score=0.8, wrong=True),
    )
    certified = policy(mode="certified")
    assert watched_errors(audits, certified, 0.7) == [False, True]
    assert watched_errors(audits, certified, None) == [False, True]
    # and in mode fixed those that the reported one would accept, if there is one
    assert watched_errors(audits, policy(), 0.85) == [True, False]
    assert watched_errors(audits, policy(), None) == []


@pytest.mark.parametrize("mode", ["fixed", "certified"])
def test_erasing_old_texts_raises_no_alarm(mode: str) -> None:
    # Given 2 000 audits of a machine that is half as often wrong as it may be
    random = np.random.default_rng(45)
    wrong = random.random(2_000) < 0.01
    audits = [audit(20 - n / 100, wrong=bool(each)) for n, each in enumerate(wrong)]
    assert detect(watched_errors(done(*audits), policy(mode=mode), 0.8), 0.02).alarm_at is None
    # If all but the newest are erased / I expect no alarm: the machine is what it was
    erased = done(*(replace(each, text_digest=None) for each in audits[:1_500]), *audits[1_500:])
    assert erased.erased > 1_400
    assert detect(watched_errors(erased, policy(mode=mode), 0.8), 0.02).alarm_at is None


@pytest.mark.parametrize(
    ("mode", "rate", "certified", "warned", "told"),
    [
        ("certified", 0.0, False, False, 1.0),  # everything is reviewed blind
        ("certified", 0.0, True, False, 0.05),
        ("certified", 0.1, True, False, 0.1),
        ("certified", 0.1, True, True, 0.25),
        ("certified", 0.4, True, True, 0.4),
        ("fixed", 0.0, False, True, 0.0),  # who wants no panel gets none
        ("fixed", 0.1, False, False, 0.1),
        ("fixed", 0.1, False, True, 0.25),
    ],
)
def test_so_much_is_audited(
    mode: str, rate: float, certified: bool, warned: bool, told: float
) -> None:
    chosen = policy(mode=mode, panel={"rate": rate})
    assert panel_rate(chosen, certified=certified, warned=warned) == told
