"""Does the certificate keep its promise for every kind of answer, compared to the last detail?"""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from services.feedback.certificate.certify import certify
from services.feedback.certificate.panel import mature
from shared.answers.base import same_brief
from tests.simulation.test_certificates import panel_of
from tests.simulation.worlds import ALPHA, DELTA, USUAL, streams
from tests.support.item_events import START
from tests.support.sample_answers import SAMPLES, Sample

SLA = timedelta(hours=72)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_wrong_certificates_are_as_rare_as_promised(
    sample: Sample, request: pytest.FixtureRequest
) -> None:
    # Given streams of audits in which people give the predicted answer, or one that differs by a
    # label, a character, a cent or an argument
    runs = 400 if request.config.getoption("--soak") else 40
    random = np.random.default_rng(21)
    predicted = sample.read(sample.predicted).brief
    others = [sample.read(answer).brief for answer in sample.near]
    broken = certified = 0
    for grid, scores, errors in streams(USUAL, runs, 3_000, random):
        hours = np.sort(random.random(len(scores))) * 240
        said = [
            str(random.choice(others)) if wrong else predicted  # each of them is wrong
            for wrong in errors
        ]
        items = [
            replace(item, kind=sample.kind, ai_label=predicted, label=answer)
            for item, answer in zip(panel_of(scores, errors, hours, START), said, strict=True)
        ]
        matured = mature(items, START + timedelta(days=20), SLA)
        # I expect each of these, and nothing else, to be an error,
        assert matured.errors.tolist() == errors.tolist()
        found = certify(matured.scores, matured.errors, grid, ALPHA, DELTA)
        certified += found.threshold is not None
        broken += USUAL.broken_by(found.levels)
    # certificates to be had, and hardly one of them to be wrong.
    assert certified > runs / 2
    assert broken / runs <= DELTA


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_only_the_same_answer_has_the_same_short_line(sample: Sample) -> None:
    predicted = sample.read(sample.predicted).brief
    assert same_brief(sample.kind, predicted, sample.read(sample.predicted).brief)
    for answer in sample.near:
        assert not same_brief(sample.kind, predicted, sample.read(answer).brief), answer
