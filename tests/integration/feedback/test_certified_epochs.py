"""Does the certifier promise only what the audits show, and take it back when they no longer do?"""

from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from services.feedback.certificate import scores
from tests.support.audited_stream import AuditedStream

BUSY = """
    INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at, source, data)
    SELECT gen_random_uuid(), 'item.scored', 1, 'busy', n::text, now(), 'a test',
           '{"prediction": {"confidence": 0.9, "model_version": "m1"}}'
    FROM generate_series(1, 1000) AS n
"""


@pytest.fixture
def world(engine: Engine) -> AuditedStream:
    return AuditedStream(engine)


def rows(world: AuditedStream, statement: str) -> list[tuple[object, ...]]:
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_a_quiet_workflow_is_found_beside_a_busy_one(
    world: AuditedStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a log of which only the newest 400 events are looked through, 250 scores of our
    # workflow, and 1 000 events of another one after each half of them
    monkeypatch.setattr(scores, "FEW", 100)
    monkeypatch.setattr(scores, "MANY", 200)
    monkeypatch.setattr(scores, "MOST", 400)
    for _ in range(2):
        world.stream(125)
        with world.engine.begin() as connection:
            connection.execute(text(BUSY))
    # I expect all of its scores to be found, and a grid to be made of them
    live = world.look()
    assert "no label of the audit panel counts yet" in live.reason, live.reason
    # If it were a large one, the newest events of all would have to do
    monkeypatch.setattr(scores, "SMALL", 200)
    with Session(world.engine) as session:
        assert scores.recent(session, "sentiment", 10_000, look_through=400) == []


def test_everything_goes_to_people_until_a_threshold_is_certified(world: AuditedStream) -> None:
    # Given a workflow of which nothing is known / I expect everything to go to people, and why
    live = world.look()
    assert (live.state, live.threshold, live.panel_rate) == ("uncertified", None, 1.0)
    assert live.reason == "no item has been scored yet"
    # If some items were scored, too few for a grid
    world.stream(150)
    assert world.look().reason == "150 of 200 scores to choose thresholds from"
    # If there are enough, I expect a frozen grid, and that no label from before counts
    world.stream(150)
    live = world.look()
    assert (live.state, live.threshold) == ("uncertified", None)
    assert "no label of the audit panel counts yet" in live.reason
    # If enough audits find no error, I expect a certificate, with its evidence in the database
    chosen = world.stream(300)
    assert {(c.route, c.reasons[0].code, c.blind) for c in chosen} == {
        ("review", "not_certified", True)
    }
    live = world.look()
    assert live.state == "certified"
    assert live.threshold is not None
    assert live.panel_rate == 0.05
    ((version, threshold, labels, errors, bound, epoch),) = rows(
        world, "SELECT id::text, threshold, labels, errors, upper_bound, epoch FROM certificate"
    )
    assert (version, float(str(threshold)), epoch) == (
        live.certificate_version,
        live.certified_threshold,
        live.epoch,
    )
    assert int(str(labels)) > 60
    assert errors == 0
    assert float(str(bound)) < 0.05
    # and that the machine decides from there on, under that certificate, a share of it audited
    chosen = world.stream(600)
    accepted = [c for c in chosen if c.route == "accept"]
    assert len(accepted) > 200
    assert {c.certificate_version for c in chosen} == {live.certificate_version}
    assert {c.sampling.q for c in chosen} == {0.05}
    assert all(c.reasons[0].code != "not_certified" for c in chosen)


def test_a_machine_that_is_wrong_too_often_is_never_certified(world: AuditedStream) -> None:
    world.stream(250)
    world.look()
    for _ in range(4):
        world.stream(250, error=0.08)
        assert world.look().state == "uncertified"
    assert rows(world, "SELECT 1 FROM certificate") == []


def test_whoever_looks_next_finds_the_same(world: AuditedStream) -> None:
    # Given a certificate / If another process, which knows nothing, looks at the same moment
    live = world.certify()
    other = world.another().look(world.policy, world.now)
    # I expect the same route, the same certificate, and no second row
    assert other == live
    assert len(rows(world, "SELECT 1 FROM certificate")) == 1
    assert len(rows(world, "SELECT 1 FROM certification_epoch")) == 1


def test_an_alarm_sends_everything_to_people_and_only_fresh_audits_count(
    world: AuditedStream,
) -> None:
    # Given a certificate, and a machine that is suddenly wrong in a third of all cases
    before = world.certify()
    for _ in range(20):
        world.stream(200, error=0.33)
        live = world.look()
        if live.state == "alarm":
            break
    # I expect the alarm within some audits, a new epoch, and nothing accepted any more
    assert (live.state, live.threshold, live.panel_rate) == ("alarm", None, 1.0)
    assert "the monitor raised the alarm" in live.reason
    assert live.epoch != before.epoch
    ((by,),) = rows(world, "SELECT ended_by FROM certification_epoch WHERE ended_at IS NOT NULL")
    assert by == "drift"
    assert {c.route for c in world.stream(50)} == {"review"}
    # If I look again, I expect no certificate by what was learnt before the alarm
    live = world.look()
    assert (live.state, live.certificate_version) == ("alarm", None)
    # If the machine is good again, I expect a new certificate by fresh audits alone
    world.stream(400)
    live = world.look()
    assert live.state == "certified"
    assert live.certificate_version != before.certificate_version
    ((frozen, watermark),) = rows(
        world,
        "SELECT frozen_at, watermark FROM certification_epoch e JOIN certificate c"
        f" ON c.epoch = e.id::text WHERE e.id = '{live.epoch}'",
    )
    assert str(frozen) < str(watermark)


def test_another_model_needs_a_certificate_of_its_own(world: AuditedStream) -> None:
    # Given a certificate of one model / If another one scores
    before = world.certify()
    world.model = "m2"
    chosen = world.stream(70)
    # I expect its items to go to people at once, blind, before the certifier has even looked
    assert {(c.route, c.reasons[0].code, c.sampling.q) for c in chosen} == {
        ("review", "not_certified", 1.0)
    }
    assert chosen[0].certificate_version is None
    assert "the certificate is for m1, not for m2" in chosen[0].reasons[0].text
    # I expect the first epoch to go on while the first model may still be there
    assert world.look().epoch == before.epoch
    # and, once it is gone, a new one
    world.stream(80)
    live = world.look()
    assert (live.state, live.model_version) == ("uncertified", "m2")
    assert "the model was changed from m1 to m2" in live.reason
    world.stream(200)
    world.look()
    world.stream(300)
    live = world.look()
    assert (live.state, live.model_version) == ("certified", "m2")


def test_another_policy_needs_a_certificate_of_its_own(world: AuditedStream) -> None:
    before = world.certify()
    # If the file sends one label to people always, another population is accepted
    world.use(always_review=["negative"])
    # I expect that routers refuse the old certificate, before the certifier has looked
    chosen = world.stream(20)
    assert {c.route for c in chosen} == {"review"}
    assert chosen[0].reasons[0].text == "the certificate is for another version of this policy"
    live = world.look()
    assert live.epoch != before.epoch
    assert live.state == "uncertified"
    # while the wished threshold and the panel's rate change nothing of what was shown
    world.use(always_review=["negative"], threshold=0.6, panel={"rate": 0.2})
    assert world.look().epoch == live.epoch


def test_stricter_terms_are_not_met_by_an_older_certificate(world: AuditedStream) -> None:
    world.certify()
    world.use(certificate={"alpha": 0.01, "delta": 0.1, "sla_hours": 24})
    assert {c.route for c in world.stream(20)} == {"review"}
    assert world.look().state == "uncertified"


def test_an_old_certificate_is_withdrawn(world: AuditedStream) -> None:
    before = world.certify()
    for _ in range(31):
        world.now += timedelta(days=1)
        world.stream(100)
        live = world.look()
    assert live.state == "alarm"
    assert "older than 30 days" in live.reason
    assert live.epoch != before.epoch


def test_alerts_learn_the_times_that_the_policy_gives(world: AuditedStream) -> None:
    # Given a policy whose certificates last for a week, with audits due within twelve hours
    terms = {"alpha": 0.05, "delta": 0.10, "max_age_days": 7, "sla_hours": 12}
    world.use(certificate=terms)
    # I expect both for the alerts as soon as the certifier has looked, with a certificate or not
    world.look()
    assert shown("hitl_certificate_max_age_seconds") == 7 * 86_400
    assert shown("hitl_audit_sla_seconds") == 12 * 3_600
    # and nothing any more once another process leads
    world.certifier.forget()
    assert shown("hitl_certificate_max_age_seconds") is None
    assert shown("hitl_audit_sla_seconds") is None


def shown(metric: str) -> float | None:
    """What Prometheus would read of the test's workflow."""
    return REGISTRY.get_sample_value(metric, {"workflow": "sentiment"})


def test_audits_that_stop_suspend_the_certificate_until_they_come_again(
    world: AuditedStream,
) -> None:
    # Given a certificate / If nothing at all is audited for longer than the SLA
    before = world.certify()
    world.now += timedelta(hours=25)
    live = world.look()
    # I expect everything to go to people, and the evidence to be kept
    assert (live.state, live.threshold, live.panel_rate) == ("alarm", None, 1.0)
    assert "no audit was done" in live.reason
    assert {c.route for c in world.stream(20)} == {"review"}
    # If audits come again, I expect the same certificate in force
    live = world.look()
    assert (live.state, live.certificate_version) == ("certified", before.certificate_version)


def test_audits_that_nobody_does_in_time_count_as_errors(world: AuditedStream) -> None:
    # Given a certificate / If people stop answering while items go on
    world.certify()
    world.stream(2_000, answered=False)
    assert world.look().state == "certified"
    # I expect the alarm once their time is over
    world.now += timedelta(hours=25)
    live = world.look()
    assert live.state == "alarm"
    assert "the monitor raised the alarm" in live.reason


def test_an_audit_that_waits_stops_all_later_ones(world: AuditedStream) -> None:
    # Given one audit that waits, and many right ones routed after it
    world.stream(250)
    world.look()
    world.stream(1, answered=False)
    world.stream(400)
    # I expect no certificate: the one that waits might be wrong
    assert world.look().state == "uncertified"
    # If its time is over, I expect it to count as an error, and those after it to count, too
    world.now += timedelta(hours=25)
    live = world.look()
    ((errors, overdue),) = rows(world, "SELECT errors, evidence->'overdue' FROM certificate")
    assert (errors, overdue) in ((0, 1), (1, 1))  # whether its score lets it through or not
    assert live.certified_threshold is not None


def test_one_score_for_all_items_is_said_to_be_the_problem(world: AuditedStream) -> None:
    world.stream(250, low=0.9, high=0.9)
    world.look()
    world.stream(30, low=0.9, high=0.9)
    assert "the same score" in world.look().reason


def test_a_fixed_policy_is_reported_on_and_never_steered(world: AuditedStream) -> None:
    # Given a fixed policy with an audit panel of all
    world.policy = world.policy.from_mapping(
        {"threshold": 0.7, "panel": {"rate": 1.0}, "certificate": {"alpha": 0.05}},
        ("negative", "positive"),
    )
    world.stream(250)
    world.look()
    world.stream(400)
    live = world.look()
    # I expect the certificate reported, and the file's threshold in force
    assert "of what the file's threshold accepts 0 of" in live.reason
    assert (live.state, live.threshold) == ("reporting", 0.7)
    assert live.certified_threshold is not None
    assert live.certificate_version is not None


def test_a_fixed_threshold_that_is_too_loose_is_said_and_what_was_learnt_is_kept(
    world: AuditedStream,
) -> None:
    # Given a fixed threshold far below where the machine becomes good
    fixed = {"threshold": 0.5, "panel": {"rate": 1.0}, "certificate": {"alpha": 0.05}}
    world.policy = world.policy.from_mapping(fixed, ("negative", "positive"))
    world.stream(250)
    world.look()
    for _ in range(3):
        world.stream(100, error=0.4, low=0.5, high=0.7)
        world.stream(200, low=0.8)
        live = world.look()
    # I expect the same epoch all along, a stricter certified threshold, and the error in words
    assert len(rows(world, "SELECT 1 FROM certification_epoch")) == 1
    assert live.state == "reporting"
    assert live.certified_threshold is not None and live.certified_threshold > 0.6
    assert "of what the file's threshold accepts 1" in live.reason
    # If it is made mode certified, I expect that threshold in force at once, and no alarm
    world.policy = world.policy.from_mapping(
        {**fixed, "mode": "certified"}, ("negative", "positive")
    )
    before, live = live, world.look()
    assert (live.state, live.threshold) == ("certified", before.certified_threshold)
