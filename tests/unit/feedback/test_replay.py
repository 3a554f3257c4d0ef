"""Does a replay count what was, and stay silent about what nobody knows?"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.feedback.reports.queueing import queue_delay
from services.feedback.reports.replay import PastItem, Replayed, replay
from services.router.policy import Policy
from shared.events.models import Item, Prediction

START = datetime(2026, 3, 1, tzinfo=UTC)
RULE = {"name": "refunds", "when": {"text_matches": "refund"}, "then": "review"}


def past(
    number: int,
    confidence: float,
    *,
    u: float = 0.9,
    q: float = 0.1,
    threshold: float = 0.8,
    label: str | None = "positive",
    text: str = "a text",
) -> PastItem:
    """An item as a threshold with a panel of rate q routed it; `label` is what people would say."""
    sure, on_panel = confidence >= threshold, u < q
    asked = not sure or on_panel
    return PastItem(
        item=Item(id=f"i{number}", text=text, received_at=START),
        prediction=Prediction(
            label="positive",
            confidence=confidence,
            distribution={"positive": confidence, "negative": 1 - confidence},
            model_version="m1",
        ),
        routed_at=START + timedelta(minutes=number),
        accepted=not asked,
        by_panel=sure and on_panel,
        sure=sure,
        probability=q if sure else 1.0,
        u=u,
        corrected=label != "positive" if asked and label else None,
        seconds=30.0 if asked and label else None,
    )


def replayed(items: list[PastItem], **policy: object) -> Replayed:
    return replay(items, Policy.from_mapping(policy), "sentiment", 1)


def test_the_policy_of_then_replays_to_what_was() -> None:
    random = np.random.default_rng(41)
    items = [
        past(number, float(confidence), u=float(u))
        for number, (confidence, u) in enumerate(random.random((500, 2)))
    ]
    found = replayed(items, threshold=0.8, panel={"rate": 0.1})
    # I expect the same items with people and the same error.
    assert found.automation == found.automation_then
    assert found.reviews == found.reviews_then
    assert found.error == found.error_then
    assert all(then == now for then, now in found.by_day.values())


def test_each_answer_stands_for_the_items_with_its_chance() -> None:
    # Given 100 sure items of which 10 were audited (2 wrong), and 50 unsure ones (20 wrong)
    sure = [
        past(n, 0.9, u=n / 100 + 0.001, label="negative" if n < 2 else "positive")
        for n in range(100)
    ]
    unsure = [past(100 + n, 0.7, label="negative" if n < 20 else "positive") for n in range(50)]
    # If the policy accepts both
    found = replayed(sure + unsure, threshold=0.6)
    assert found.automation == 1.0
    # I expect 100 items at 2 in 10 and 50 at 20 in 50, not 22 in 60.
    assert found.error.rate == pytest.approx((100 * 0.2 + 50 * 0.4) / 150)
    assert (found.error.labels, found.error.errors, found.error.unknown) == (60, 22, 0)
    assert found.error.low is not None
    assert found.error.high is not None
    assert found.error.low < 22 / 60 < found.error.high
    # As it was, only the sure ones were accepted: 2 of 10.
    assert found.error_then.rate == pytest.approx(0.2)


def test_the_interval_holds_for_few_answers() -> None:
    # Given a machine that is wrong in 4 % of its sure and 30 % of its unsure answers
    random = np.random.default_rng(42)
    runs, missed = 80, 0
    true = (400 * 0.04 + 60 * 0.3) / 460
    for _ in range(runs):
        sure = [
            past(n, 0.9, u=u, q=0.05, label="negative" if wrong else "positive")
            for n, (u, wrong) in enumerate(
                zip(random.random(400), random.random(400) < 0.04, strict=True)
            )
        ]
        unsure = [
            past(400 + n, 0.7, label="negative" if wrong else "positive")
            for n, wrong in enumerate(random.random(60) < 0.3)
        ]
        error = replayed(sure + unsure, threshold=0.6).error
        assert error.low is not None
        assert error.high is not None
        missed += not error.low <= true <= error.high
    # I expect it to miss the truth in at most 5 % of the runs, with some 20 audits each.
    assert missed / runs <= 0.05


def test_the_interval_holds_where_audits_of_errors_still_wait() -> None:
    # Given audits of a machine that is wrong in 8 % of its answers, of which people have confirmed
    # every right one, while two of three wrong ones still wait for whoever settles disputes
    random = np.random.default_rng(44)
    for _ in range(20):
        items = [
            past(n, 0.9, u=u, q=0.5, label=None if wrong and waits else label)
            for n, (u, wrong, waits) in enumerate(
                zip(
                    random.random(1_000),
                    random.random(1_000) < 0.08,
                    random.random(1_000) < 2 / 3,
                    strict=True,
                )
            )
            for label in ["negative" if wrong else "positive"]
        ]
        found = replayed(items, threshold=0.8)
        assert found.error.rate is not None
        assert found.error.low is not None
        assert found.error.high is not None
        # I expect the truth inside the interval, though the rate of the answered ones is too low,
        assert found.error.rate < 0.06
        assert found.error.low < 0.08 < found.error.high
        # and to be told why.
        assert any(f"{found.error.unanswered} audits" in note for note in found.notes)


def test_what_nobody_could_have_audited_is_not_guessed() -> None:
    # Given a log without a panel: only unsure items have answers
    items = [past(n, 0.9, q=0.0) for n in range(80)] + [past(80 + n, 0.7) for n in range(20)]
    same = replayed(items, threshold=0.8)
    assert same.error.rate is None
    assert same.error.unknown == 80
    assert "nothing is known" in same.notes[0]
    # If the policy accepts the unsure ones too, I expect the error of these, and what is unknown.
    looser = replayed(items, threshold=0.6)
    assert looser.error.rate == 0.0
    assert (looser.error.labels, looser.error.unknown) == (20, 80)


def test_unanswered_questions_are_unknown_and_no_right_answers() -> None:
    items = [past(n, 0.7, label=None if n < 5 else "negative") for n in range(10)]
    found = replayed(items, threshold=0.6)
    assert found.error.rate == 1.0
    assert (found.error.unanswered, found.error.unknown) == (5, 5)


def test_the_panel_is_drawn_with_the_numbers_of_then() -> None:
    items = [past(n, 0.9, u=n / 100) for n in range(100)]
    found = replayed(items, threshold=0.8, panel={"rate": 0.25})
    assert found.reviews == 25
    # Without its number an item is not drawn, and that is said.
    found = replayed([replace(i, u=None) for i in items], threshold=0.8, panel={"rate": 0.25})
    assert found.reviews == 0
    assert any("no number" in note for note in found.notes)


def test_erased_items_are_left_out_only_where_rules_read_texts() -> None:
    items = [past(0, 0.9, text="refund me"), replace(past(1, 0.9), erased=True)]
    plain = replayed(items, threshold=0.8)
    assert (plain.items, plain.left_out, plain.accepted) == (2, 0, 2)
    ruled = replayed(items, threshold=0.8, rules=[RULE])
    assert (ruled.items, ruled.left_out, ruled.accepted) == (1, 1, 0)
    assert any("1 items are left out" in note for note in ruled.notes)


def test_mode_certified_is_replayed_at_its_threshold_and_says_so() -> None:
    found = replayed([past(0, 0.9)], threshold=0.8, mode="certified")
    assert found.accepted == 1
    assert any("as if 0.8 were certified" in note for note in found.notes)


def test_answers_of_those_who_saw_the_label_are_counted() -> None:
    items = [replace(past(n, 0.7), shown=True) for n in range(4)]
    found = replayed(items, threshold=0.6)
    assert found.error.shown == 4
    assert any("saw the AI's label" in note for note in found.notes)


def test_nothing_replays_to_nothing() -> None:
    found = replayed([], threshold=0.8)
    assert (found.items, found.automation, found.error.rate, found.queue) == (0, None, None, None)
    with pytest.raises(ValueError, match="0 reviewers"):
        replay([], Policy.from_mapping({"threshold": 0.8}), "sentiment", 0)


def test_days_and_reviews_a_day() -> None:
    items = [past(n * 60, 0.7) for n in range(48)]
    found = replayed(items, threshold=0.8)
    assert found.by_day == {"2026-03-01": (24, 24), "2026-03-02": (24, 24)}
    assert found.reviews_a_day == pytest.approx(48 / (47 / 24))


def test_one_reviewer_works_one_item_after_the_other() -> None:
    # Given three items at once and 10 s each
    delay = queue_delay([START] * 3, [10.0], 1)
    assert delay is not None
    assert (delay.median, delay.longest) == (10.0, 20.0)
    # With three reviewers nobody waits.
    delay = queue_delay([START] * 3, [10.0], 3)
    assert delay is not None
    assert delay.longest == 0.0


def test_too_few_reviewers_are_noticed() -> None:
    # Given an item every 10 s that takes 25 s
    arrivals = [START + timedelta(seconds=10 * n) for n in range(1_000)]
    delay = queue_delay(arrivals, [25.0], 2)
    assert delay is not None
    assert delay.busy == pytest.approx(1.25, rel=0.01)
    assert delay.enough == 3
    assert delay.longest > 1_000
    enough = queue_delay(arrivals, [25.0], 3)
    assert enough is not None
    assert enough.longest < 1.0


def test_random_service_times_wait_as_theory_says() -> None:
    # Given an M/M/1 queue at half load
    random = np.random.default_rng(43)
    gaps = np.cumsum(random.exponential(20.0, 20_000))
    arrivals = [START + timedelta(seconds=float(gap)) for gap in gaps]
    delay = queue_delay(arrivals, random.exponential(10.0, 5_000).tolist(), 1)
    assert delay is not None
    # I expect P(wait > t) = 0.5 exp(-t / 20): nobody's median waits, the 90 % is at 32 s.
    assert delay.median < 2.0
    assert delay.p90 == pytest.approx(20 * np.log(5), rel=0.15)


def test_a_lunch_between_question_and_answer_is_no_work() -> None:
    # Given a thousand items in a day, reviews of 4 s, and one that took an hour
    arrivals = [START + timedelta(seconds=86 * n) for n in range(1_000)]
    delay = queue_delay(arrivals, [4.0] * 99 + [3_600.0], 1)
    # I expect one reviewer to be enough, nobody to wait for that lunch, and it to be said
    assert delay is not None
    assert (delay.seconds_each, delay.enough, delay.breaks) == (4.0, 1, 1)
    assert delay.busy == pytest.approx(4 / 86, rel=0.01)
    assert delay.longest < 10
    # also where there are two answers only.
    two = queue_delay(arrivals, [4.0, 3_600.0], 1)
    assert two is not None
    assert (two.seconds_each, two.enough, two.breaks) == (4.0, 1, 1)
    items = [past(n * 60, 0.7, label="positive") for n in range(48)]
    items[7] = replace(items[7], seconds=3_600.0)
    found = replayed(items, threshold=0.8)
    assert any("taken for breaks" in note for note in found.notes)


def test_what_was_accepted_unread_says_nothing_of_time() -> None:
    items = [past(n * 60, 0.7, label="positive") for n in range(10)]
    items += [replace(past(600 + n * 60, 0.7, label="positive"), seconds=0.0) for n in range(90)]
    found = replayed(items, threshold=0.8)
    assert found.queue is not None
    assert found.queue.seconds_each == 30.0
