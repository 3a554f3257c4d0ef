"""In mode `certified`, is there any way to be accepted without a good certificate?"""

import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.router.policy import Policy
from services.router.route import Route, Steering, route, steer
from shared.errors import ConfigurationError
from shared.events.live_policy import LivePolicy, LiveRoute, encode_policy
from shared.events.models import Item, Prediction
from shared.workflows.files import WorkflowFile

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LABELS = ("negative", "positive")
CERTIFIED = Policy.from_mapping({"mode": "certified", "threshold": 0.7}, LABELS)
GOOD: dict[str, Any] = {
    "state": "certified",
    "threshold": 0.9,
    "certified_threshold": 0.8,
    "panel_rate": 0.05,
    "certificate_version": "cert-1",
    "model_version": "m1",
    "population": CERTIFIED.population,
    "alpha": 0.02,
    "delta": 0.10,
    "epoch": "e1",
    "watermark": NOW,
    "reason": "certified",
    "valid_until": NOW + timedelta(hours=1),
}


def live(**other: object) -> LiveRoute:
    return LiveRoute.model_validate({**GOOD, **other})


def send(
    policy: Policy, said: LiveRoute | None, confidence: float = 0.99, model: str = "m1"
) -> Route:
    prediction = Prediction(
        label="positive",
        confidence=confidence,
        distribution={"positive": confidence, "negative": 1 - confidence},
        model_version=model,
    )
    item = Item(id="i", text="fine", received_at=NOW)
    return route(policy, "sentiment", item, prediction, "salt", "v1", NOW, steer(policy, said, NOW))


def test_the_operating_threshold_decides_and_the_certificate_is_named() -> None:
    # Given a certificate from 0.8 on, operated at 0.9
    sure, unsure = send(CERTIFIED, live()), send(CERTIFIED, live(), 0.85)
    assert (sure.route, sure.threshold, sure.certificate_version) == ("accept", 0.9, "cert-1")
    assert (unsure.route, unsure.certificate_version) == ("review", "cert-1")
    assert unsure.reasons[0].text == "confidence 0.85 is below 0.90"
    assert (unsure.sampling.q, unsure.would_accept) == (0.05, False)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (None, "nothing has been heard from the certifier yet"),
        (live(valid_until=NOW), "nothing heard from the certifier since"),
        (live(population="another"), "another version of this policy"),
        (live(alpha=0.03), "promises less"),
        (live(delta=0.2), "promises less"),
        (
            live(state="alarm", threshold=None, reason="the monitor raised the alarm"),
            "the monitor raised the alarm",
        ),
        (live(state="uncertified", threshold=None, reason="12 labels"), "12 labels"),
        (live(state="reporting"), "certified"),
    ],
)
def test_without_a_good_certificate_everything_is_reviewed_blind(
    said: LiveRoute | None, why: str
) -> None:
    chosen = send(CERTIFIED, said, 1.0)
    assert (chosen.route, chosen.reasons[0].code) == ("review", "not_certified")
    assert why in chosen.reasons[0].text
    assert (chosen.sampling.q, chosen.blind, chosen.would_accept) == (1.0, True, False)
    assert (chosen.threshold, chosen.certificate_version) == (None, None)


def test_a_certificate_speaks_of_one_model_only() -> None:
    chosen = send(CERTIFIED, live(), 1.0, model="m2")
    assert (chosen.route, chosen.sampling.q) == ("review", 1.0)
    assert chosen.reasons[0].text == "the certificate is for m1, not for m2"


lives = st.none() | st.builds(
    lambda state, low, high, rate, population, alpha, valid, model: LiveRoute.model_construct(
        **{
            **GOOD,
            "state": state,
            "certified_threshold": low,
            "threshold": high,
            "panel_rate": rate,
            "population": population,
            "alpha": alpha,
            "valid_until": NOW + timedelta(seconds=valid),
            "model_version": model,
        }
    ),
    st.sampled_from(["certified", "uncertified", "alarm", "reporting"]),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([CERTIFIED.population, "another"]),
    st.sampled_from([0.01, 0.02, 0.05]),
    st.integers(-2, 2),
    st.sampled_from(["m1", "m2"]),
)


@given(lives, st.floats(0, 1))
def test_whatever_is_said_only_a_certified_threshold_accepts(
    said: LiveRoute | None, confidence: float
) -> None:
    chosen = send(CERTIFIED, said, confidence)
    if chosen.route == "review":
        return
    assert said is not None
    assert said.state == "certified"
    assert said.certified_threshold is not None
    assert confidence >= said.certified_threshold
    assert (said.population, said.model_version) == (CERTIFIED.population, "m1")
    assert said.alpha <= 0.02
    assert said.valid_until > NOW


def test_a_fixed_policy_is_the_files_and_only_its_panel_can_grow() -> None:
    # Given a fixed policy with a panel / If the certifier warns / I expect more audits, no more
    fixed = Policy.from_mapping({"threshold": 0.7, "panel": {"rate": 0.05}}, LABELS)
    reporting = live(state="reporting", threshold=0.7, panel_rate=0.25)
    assert steer(fixed, reporting, NOW) == Steering(0.25, 0.7)
    assert steer(fixed, live(state="reporting", panel_rate=0.01), NOW) == Steering(0.05, 0.7)
    assert steer(fixed, None, NOW) == Steering(0.05, 0.7)
    assert steer(fixed, live(panel_rate=0.25, valid_until=NOW), NOW) == Steering(0.05, 0.7)
    # and where there is no panel, none
    assert steer(Policy.from_mapping({"threshold": 0.7}), reporting, NOW) == Steering(0.0, 0.7)


@pytest.mark.parametrize(
    ("toml", "why"),
    [
        ('rules = [{ name = "vip", when = { label = "positive" }, then = "accept" }]', "'vip'"),
        ("label_thresholds = { positive = 0.99 }", "label_thresholds"),
        ("accept_truncated = true", "accept_truncated"),
        ("certificate = { alpha = 0.0 }", "certificate.alpha"),
        ("certificate = { alpha = 0.6 }", "certificate.alpha"),
        ("certificate = { delta = 1.0 }", "certificate.delta"),
        ("certificate = { beta = 0.1 }", "certificate.beta"),
        ('mode = "hopeful"', "mode"),
    ],
)
def test_what_would_pass_a_certificate_is_refused(toml: str, why: str) -> None:
    mode = "" if "mode" in toml else 'mode = "certified"\n'
    with pytest.raises(ConfigurationError, match=why):
        Policy.from_mapping(tomllib.loads(f"{mode}threshold = 0.7\n{toml}"), LABELS)


def test_audits_must_be_adjudicated() -> None:
    content = {
        "workflow": {"name": "sentiment", "labels": LABELS},
        "review": {"adjudicate_panel_disagreements": False},
        "policy": {"mode": "certified", "threshold": 0.7},
    }
    with pytest.raises(ConfigurationError, match="adjudicate_panel_disagreements"):
        Policy.of_file(WorkflowFile.model_validate(content))


def test_the_population_is_what_forms_it_and_the_terms() -> None:
    def population(**content: object) -> str:
        return Policy.from_mapping({"threshold": 0.7, **content}, LABELS).population

    same = population()
    assert population(threshold=0.9, panel={"rate": 0.5}, mode="certified") == same
    assert population(certificate={"max_age_days": 1, "sla_hours": 1}) == same
    different = [
        population(always_review=["negative"]),
        population(certificate={"alpha": 0.01}),
        population(certificate={"delta": 0.01}),
        population(rules=[{"name": "r", "when": {"label": "positive"}, "then": "review"}]),
        Policy.from_mapping({"threshold": 0.7}, ("a", "b")).population,
    ]
    assert len({same, *different}) == 6


@pytest.mark.parametrize(
    "unsafe",
    [
        {"threshold": 0.7},
        {"threshold": None},
        {"certified_threshold": None},
        {"certificate_version": None},
        {"model_version": None},
        {"panel_rate": 0.0},
        {"state": "alarm"},
        {"state": "uncertified"},
        {"valid_until": datetime(2026, 3, 1, 13, 0)},
    ],
)
def test_a_message_that_is_not_safe_cannot_be_read(unsafe: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        live(**unsafe)


def test_a_message_is_read_as_it_was_written() -> None:
    # With the very same numbers: a threshold that is rounded is another one.
    policy = LivePolicy(
        version=3, issued_at=NOW, workflows={"sentiment": live(threshold=0.9000000000000001)}
    )
    assert LivePolicy.model_validate_json(encode_policy(policy).body) == policy
