"""How soon does the monitor notice that the machine became worse, and how often is it wrong?"""

import numpy as np
import pytest

from services.feedback.certificate.drift import detect, scores_drifted

ALPHA = 0.02


@pytest.mark.parametrize(("worse", "expected"), [(0.06, 190), (0.10, 75), (0.20, 26)])
def test_a_jump_of_the_error_rate_is_noticed_within_the_published_number_of_audits(
    worse: float, expected: int
) -> None:
    # Given audits at 1.2 % errors, until the rate jumps
    random = np.random.default_rng(21)
    before, runs = 500, 400
    delays = []
    for _ in range(runs):
        errors = np.append(random.random(before) < 0.012, random.random(3_000) < worse)
        alarm = detect(errors, ALPHA).alarm_at
        if alarm is None or alarm >= before:
            delays.append(3_000 if alarm is None else alarm - before + 1)
    # I expect the median delay to be the published one, within a fifth, and hardly a false alarm.
    assert np.median(delays) == pytest.approx(expected, rel=0.2)
    assert runs - len(delays) <= 0.01 * runs


def test_false_alarms_are_as_rare_as_promised() -> None:
    # Given a machine that is exactly as bad as tolerated, and a limit low enough to count alarms
    random = np.random.default_rng(22)
    limit, audits, runs = 1_000.0, 100, 1_000
    alarms = sum(
        detect(random.random(audits) < ALPHA, ALPHA, limit).alarm_at is not None
        for _ in range(runs)
    )
    # I expect P(an alarm within N audits) <= N / limit, and some alarms at all.
    assert 0 < alarms / runs <= audits / limit


def test_scores_of_another_domain_warn_and_those_of_the_same_do_not() -> None:
    random = np.random.default_rng(23)
    # Given what the scores were, 100 days like it and 100 days with less certain ones
    before = random.beta(8, 1.5, 5_000)
    same = [scores_drifted(before, random.beta(8, 1.5, 1_000)) for _ in range(100)]
    other = [scores_drifted(before, random.beta(4, 1.5, 1_000)) for _ in range(100)]
    # I expect a warning on each of these, and none on those.
    assert not any(same)
    assert all(other)
