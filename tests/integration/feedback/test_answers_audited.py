"""Are audits, replays and calibrations of every kind of answer about the very answer?"""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hitl.__main__ import app
from hitl.ledger.erase import Erasure, erase_text
from services.feedback.certificate import scores
from services.feedback.certificate.panel import Matured, mature
from services.feedback.certificate.panel_log import PanelLog
from services.feedback.reports.calibration import Wanted, calibrate
from services.feedback.reports.disagreements import disagreements
from services.feedback.reports.replay import Replayed, replay
from services.feedback.reports.replay_log import history
from services.feedback.reports.reviewed import reviewed as decided_by_people
from services.logger.handler import Logger
from services.router.handler import Router
from services.router.policy import Policy
from shared.clock import utc_now
from shared.events.answered import (
    AnswerAccepted,
    AnswerDecision,
    AnswerReviewed,
    AnswerReviewRequested,
    AnswerScored,
)
from shared.events.envelope import decode
from shared.events.models import Event, Review
from shared.messages import Delivery, Outgoing
from tests.support.item_events import START, deliver, delivered
from tests.support.sample_answers import SAMPLES, Sample

SLA = timedelta(hours=72)
EVERY_KIND = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)


class Answered:
    """One workflow of this kind: the real router decides, the real logger writes it down."""

    def __init__(self, engine: Engine, sample: Sample, **policy: Any) -> None:
        self.engine = engine
        self.sample = sample
        self.now = START
        self.use(**policy)
        self.router = Router(lambda _name: self.policy, salt="salt", clock=lambda: self.now)
        self.log = Logger(engine, workflows=["w"], max_body_bytes=1 << 20, clock=utc_now)

    def use(self, **policy: Any) -> None:
        spec = self.sample.spec
        self.policy = Policy.from_mapping({"threshold": 0.8, **policy}, spec.labels, spec)

    def write(self, *deliveries: Delivery) -> None:
        for start in range(0, len(deliveries), 1_000):
            results = self.log.handle(deliveries[start : start + 1_000])
            assert all(isinstance(result, Sequence) and not result for result in results), results

    def comes(
        self, name: str, confidence: float | None, answer: dict[str, Any] | None = None, **item: Any
    ) -> AnswerAccepted | AnswerReviewRequested:
        """An item comes; `confidence` None: nobody predicts anything. Where a person is asked,
        `answer` is theirs, a minute later; None: they have not answered."""
        written, routed = self.passed(name, confidence, answer, **item)
        self.write(*written)
        return routed

    def passed(
        self, name: str, confidence: float | None, answer: dict[str, Any] | None, **item: Any
    ) -> tuple[list[Delivery], AnswerAccepted | AnswerReviewRequested]:
        self.now += timedelta(seconds=1)
        asked = self.sample.item(name, item.pop("text", f"{name}: Peter of ACME owes 120 euros."))
        scored = AnswerScored(
            workflow="w",
            occurred_at=self.now,
            item=asked.model_copy(update={"received_at": self.now, **item}),
            kind=self.sample.kind,
            prediction=None if confidence is None else self.sample.prediction(confidence),
        )
        (result,) = self.router.handle([delivered(scored)])
        assert isinstance(result, tuple), result
        (message,) = result
        assert isinstance(message, Outgoing)
        routed: Event = decode(deliver(message), AnswerAccepted, AnswerReviewRequested)
        assert isinstance(routed, AnswerAccepted | AnswerReviewRequested)
        written = [delivered(scored), deliver(message)]
        if isinstance(routed, AnswerReviewRequested) and answer is not None:
            written.append(delivered(self.reviewed(routed, answer)))
        return written, routed

    def reviewed(self, asked: AnswerReviewRequested, answer: dict[str, Any]) -> AnswerReviewed:
        given, prediction, routing = self.sample.read(answer), asked.prediction, asked.routing
        same = prediction is not None and given == prediction.read
        at = self.now + timedelta(minutes=1)
        return AnswerReviewed(
            workflow="w",
            occurred_at=at,
            item=asked.item,
            kind=asked.kind,
            prediction=prediction,
            decision=AnswerDecision(
                kind=asked.kind,
                answer=given.value,
                decided_by="human",
                confidence=None,
                model_version=prediction.model_version if prediction else "none",
                policy_version=routing.policy_version,
                reasons=routing.reasons,
                decided_at=at,
                threshold=routing.threshold,
                sampling=routing.sampling,
                ai_answer=prediction and prediction.answer,
                reviewer="grace",
                action="accepted" if same else "corrected",
            ),
            review=Review(
                task_id=uuid4(),
                revision=1,
                assigned_at=at,
                seconds=2.0,
                ai_label_shown=not routing.blind,
            ),
        )

    def audited(self, model: str = "m1") -> Matured:
        reading = PanelLog(self.engine, "w").read(model, START, SLA)
        return mature(reading.items, self.now + timedelta(hours=1), SLA)

    def replayed(self, **policy: Any) -> Replayed:
        self.use(**policy)
        past = history(self.engine, "w", START, self.now + timedelta(hours=1))
        return replay(past, self.policy, "w", 1)


@EVERY_KIND
def test_an_audit_is_right_where_people_give_the_very_answer(
    sample: Sample, engine: Engine
) -> None:
    # Given a panel of all items / If people give what is predicted, and then what differs by a hair
    world = Answered(engine, sample, panel={"rate": 1.0})
    answers = [sample.predicted, *sample.near]
    for number, answer in enumerate(answers):
        asked = world.comes(f"i{number}", 0.9, answer)
        assert isinstance(asked, AnswerReviewRequested)
        assert asked.routing.blind
    # I expect the first alone to count as right. What nobody predicted anything about is no audit.
    nobody = world.comes("open", None, sample.near[0])
    assert isinstance(nobody, AnswerReviewRequested)
    assert not nobody.routing.blind
    found = world.audited()
    assert [item.item_id for item in found.items] == [f"i{n}" for n in range(len(answers))]
    assert found.errors.tolist() == [False] + [True] * len(sample.near)
    with Session(engine) as session:
        assert [each.score for each in scores.recent(session, "w", 10)] == [0.9] * len(answers)
        assert len(scores.recent(session, "w", 10, look_through=scores.FEW)) == len(answers)
    # and the report of what people correct to say the same.
    told = disagreements(decided_by_people(engine, "w"))
    assert (told.items, told.corrected) == (len(answers), len(sample.near))


@EVERY_KIND
def test_what_differs_in_more_than_its_text_is_no_copy(sample: Sample, engine: Engine) -> None:
    world = Answered(engine, sample, panel={"rate": 1.0})
    for name in ("one", "again"):
        world.comes(name, 0.9, sample.predicted, text="the same")
    assert world.audited().duplicates == 1
    if sample.brings:
        world.comes("other", 0.9, sample.predicted, text="the same", draft="another draft")
        assert (world.audited().duplicates, len(world.audited().items)) == (1, 2)


@EVERY_KIND
def test_the_same_policy_replays_to_what_was_and_another_to_what_would_have_been(
    sample: Sample, engine: Engine
) -> None:
    # Given sure items of which a fifth is audited, unsure ones that people answer, one wrongly
    # predicted, and some that nobody predicted
    world = Answered(engine, sample, panel={"rate": 0.2})
    written: list[Delivery] = []
    for number in range(60):
        answer = sample.near[0] if number == 20 else sample.predicted
        confidence = None if number % 10 == 9 else 0.9 if number % 2 else 0.6
        written += world.passed(f"i{number}", confidence, answer)[0]
    world.write(*written)
    same = world.replayed(panel={"rate": 0.2})
    assert (same.items, same.left_out) == (60, 0)
    assert (same.accepted, same.error) == (same.accepted_then, same.error_then)
    # If all predictions are accepted / I expect all but the unpredicted ones, and the one error.
    loose = world.replayed(threshold=0.0)
    assert loose.accepted == 54
    assert loose.error.errors == 1
    assert loose.error.labels >= 30
    # What is erased cannot be asked about, if its answer was a person's words.
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure("w", "i0", "grace", "asked for", utc_now()))
    quotes = sample.read(sample.predicted).quotes
    assert world.replayed(threshold=0.0).left_out == (1 if quotes else 0)


def test_a_replay_tells_what_a_rule_would_have_approved_wrongly(engine: Engine) -> None:
    # Given actions that nobody predicted anything about: people approved the small ones but one
    sample = next(sample for sample in SAMPLES if sample.kind == "approval")
    world = Answered(engine, sample)
    yes, no = sample.predicted, {"verdict": "reject"}
    for number in range(20):
        world.comes(f"i{number}", None, no if number == 3 else yes)
    # If a rule approves them / I expect the replay to know of the one that people refused.
    small = {"name": "small", "when": {"argument": {"amount": {"lt": 50}}}, "then": "accept"}
    found = world.replayed(rules=[small])
    assert (found.accepted_then, found.accepted) == (0, 20)
    assert (found.error.labels, found.error.errors) == (20, 1)
    # And once the rule decides, nobody is asked.
    accepted = world.comes("new", None, yes)
    assert isinstance(accepted, AnswerAccepted)
    assert world.replayed(rules=[small]).accepted_then == 1


@EVERY_KIND
def test_a_calibration_speaks_of_every_kind(
    sample: Sample, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given enough scores for a grid, and as many audits, one of them wrong
    world = Answered(engine, sample, panel={"rate": 1.0})
    written: list[Delivery] = []
    for number in range(420):
        answer = sample.near[0] if number == 300 else sample.predicted
        confidence = None if number % 20 == 19 else 0.5 + (number % 100) / 200
        written += world.passed(f"i{number}", confidence, answer)[0]
    world.write(*written)
    found = calibrate(
        engine, "w", world.policy, Wanted(alpha=0.2, days=3_000), world.now + timedelta(hours=1)
    )
    assert found.model_version == "m1"
    assert (found.errors, found.certified.threshold is not None) == (1, True)
    assert found.audits == 199
    assert found.temperature.value is None
    assert "nothing about other answers" in found.temperature.why
    assert not any("as predicted" in note for note in found.notes)


def test_the_commands_read_a_workflow_of_another_kind(
    engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    sample = next(sample for sample in SAMPLES if sample.kind == "form")
    world = Answered(engine, sample)
    world.comes("cheap", 0.7, sample.predicted)
    draft = tmp_path / "w.toml"
    (tmp_path / "bill.json").write_text('{"type": "object"}')
    draft.write_text(
        '[workflow]\nname = "w"\nanswer = "form"\nschema = "bill.json"\n[policy]\nthreshold = 1.0\n'
        '[[policy.rules]]\nname = "small"\nwhen = { field = { total = { le = 120 } } }\n'
        'then = "accept"\n'
    )
    told = CliRunner().invoke(app, ["replay", "--policy", str(draft), "--format", "json"])
    assert told.exit_code == 0, told.output
    assert (json.loads(told.stdout)["accepted"], json.loads(told.stdout)["items"]) == (1, 1)
    nothing = CliRunner().invoke(app, ["calibrate", "--workflow", str(draft)])
    assert nothing.exit_code == 0, nothing.output
    assert "Nothing can be certified" in nothing.output
