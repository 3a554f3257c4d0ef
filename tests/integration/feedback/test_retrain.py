"""Do decisions become a version, with a receipt, and is a bad order refused in words? On Postgres.

The trainings are small: some hundred short texts.
"""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import Engine, text
from transformers import BertConfig, BertForSequenceClassification
from typer.testing import CliRunner, Result

from hitl.commands.model import app as model_app
from hitl.commands.retrain import app as retrain_app
from services.feedback.registry.receipt import Figures, Receipt, read_receipt
from services.feedback.registry.versions import Registry
from services.feedback.training import labelled_texts
from services.feedback.training.examples import LabelledText
from services.feedback.training.fitting import Recipe
from services.feedback.training.labelled_texts import Parts, divide, is_held_out, reviewed, text_key
from services.feedback.training.locks import only_one
from services.feedback.training.replay_set import ReplaySet
from services.feedback.training.retrain import TrainingPlan, retrain
from services.feedback.training.unfinished import Plan, start_unfinished
from services.inference import embedded
from services.inference.classifier import load
from services.logger.handler import Logger
from shared.answers.label import LabelAnswer
from shared.clock import utc_now
from shared.events.models import ItemShadowScored, Prediction, RouteReason, Sampling
from tests.integration.inference.test_classifier import LABELS, SIZE, write
from tests.support.item_events import Journey, delivered
from tests.support.model_versions import NOW, add_version

TINY = Recipe(learning_rate=1e-3, head_learning_rate=1e-3, epochs=2, batch=16, max_tokens=32)
GOOD = ("joyful", "moving", "bright", "clever", "warm", "funny")
BAD = ("dull", "endless", "cold", "stupid", "cheap", "sad")


class Told(Journey):
    """An item and the label that a person gave it."""

    def __init__(self, item_id: str, content: str, label: str) -> None:
        super().__init__(item_id, text=content)
        self.label = label


def decisions(
    count: int, *, labels: Sequence[str] = ("negative", "positive"), first: int = 0
) -> list[Told]:
    """Items of both kinds, each of another text, with the label that a person gave."""
    chance = random.Random(count)
    found = []
    for number in range(count):
        label = labels[number % len(labels)]
        words = chance.sample(GOOD if label == "positive" else BAD, 3)
        found.append(Told(f"item-{first + number}", f"scene {number} is {', '.join(words)}", label))
    return found


def log(engine: Engine, journeys: Sequence[Told]) -> None:
    """What the logger writes when people have decided all of these."""
    logger = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    events = [
        event
        for journey in journeys
        for event in (journey.scored(), journey.reviewed(journey.label))
    ]
    assert list(logger.handle([delivered(event) for event in events])) == [()] * len(events)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """HITL_HOME, with a file to replay."""
    rows = [
        {"text": f"{word} acting, scene {n}", "label": label}
        for label, words in (("positive", GOOD), ("negative", BAD))
        for word in words
        for n in range(5)
    ]
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def hitl(engine: Engine, home: Path, app: Any, *words: str) -> Result:
    environment = {"DATABASE_URL": url_of(engine), "HITL_HOME": str(home), "COLUMNS": "200"}
    return CliRunner().invoke(app, words, env=environment)


def parts_of(engine: Engine) -> Parts:
    return divide(reviewed(engine, "sentiment"), ("negative", "positive"), ())


def trained(engine: Engine, registry: Registry, parts: Parts | None = None) -> Receipt:
    """One small version."""
    return retrain(
        registry,
        TrainingPlan("base", embedded.SHIPPED_ADAPTER, 0.85, 7, 10, by="a test", recipe=TINY),
        load("embedded"),
        parts or parts_of(engine),
        None,
        lambda folder: load(str(folder)),
        utc_now,
        lambda _part, _what: None,
    )


def test_from_decisions_to_a_promoted_version_and_back(
    engine: Engine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an MLflow that does not answer, and 300 decisions, of which one text was erased since
    monkeypatch.setenv("HITL_MLFLOW_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log(engine, decisions(300))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE item SET text = '[erased]', erased_at = now() WHERE id = 'item-0'")
        )
    # If I retrain
    ran = hitl(engine, home, retrain_app, "--replay", str(home / "old.jsonl"))
    assert ran.exit_code == 0, ran.output
    # I expect to be told what MLflow lacks, and a version with a card and a receipt,
    assert "hitl model push" in ran.stderr
    folder = home / "models" / "sentiment" / "v1"
    receipt = read_receipt(folder)
    assert "## What it is worth" in (folder / "README.md").read_text()
    assert receipt.model_version == load(str(folder)).model_version
    assert receipt.parent.version == "base"
    assert receipt.parent.model_version == load("embedded").model_version
    # that names each decision that trained it, none of them held out, erased or for calibration,
    learned = {source.item_id for source in receipt.trained_on}
    assert len(learned) > 150
    assert not any(is_held_out(item_id) for item_id in learned)
    assert "item-0" not in learned
    assert not learned & {source.item_id for source in receipt.calibrated_on}
    with engine.connect() as connection:
        known = set(
            connection.execute(
                text("SELECT item_id, event_id FROM event WHERE type = 'item.reviewed'")
            ).all()
        )
    assert {(source.item_id, source.event_id) for source in receipt.trained_on} <= known
    # and what it was worth, with the parent's figures beside it.
    assert receipt.held_out == receipt.figures["held_out"]["candidate"].items >= 50
    low, high = receipt.figures["held_out"]["candidate"].accuracy[1:]
    assert low < receipt.figures["held_out"]["candidate"].accuracy[0] <= high
    assert receipt.replay is not None
    assert receipt.replay.source == "old.jsonl"
    # It decides nothing before it is promoted; then it does, and the record says so,
    listed = json.loads(hitl(engine, home, model_app, "list", "--json").stdout)
    assert [(row["version"], row["role"]) for row in listed] == [("base", "live"), ("v1", "")]
    promoted = hitl(engine, home, model_app, "promote", "v1")
    assert promoted.exit_code == 0, promoted.output
    registry = Registry(home / "models", "sentiment")
    current = registry.current()
    assert current is not None
    assert (current.version, current.model_version) == ("v1", receipt.model_version)
    shown = hitl(engine, home, model_app, "show", "v1").stdout
    assert "promoted by" in shown
    # and one command goes back.
    assert hitl(engine, home, model_app, "rollback").exit_code == 0
    assert registry.current_version() == "base"
    again = hitl(engine, home, model_app, "rollback")
    assert again.exit_code == 1
    assert "nothing to roll back" in again.stderr


def test_a_version_that_is_worse_is_not_promoted_unless_somebody_says_why(
    engine: Engine, home: Path
) -> None:
    # Given a version that was taught the opposite, by decisions that were corrected later
    journeys = decisions(300)
    log(engine, journeys)
    parts = parts_of(engine)
    other = {"negative": "positive", "positive": "negative"}
    wrong = [item._replace(label=other[item.label]) for item in parts.train]
    registry = Registry(home / "models", "sentiment")
    trained(engine, registry, parts._replace(train=wrong))
    # If I promote it, I expect the gate to say what is wrong
    refused = hitl(engine, home, model_app, "promote", "v1")
    assert refused.exit_code == 1
    assert "FAIL  no worse" in refused.stdout
    assert registry.current_version() == "base"
    # unless I overrule it: then who and why is on record, with what the gate had said
    forced = hitl(engine, home, model_app, "promote", "v1", "--force", "a drill")
    assert forced.exit_code == 0, forced.output
    change = registry.history()[-1]
    assert change.action == "promoted"
    assert change.by
    assert change.forced is not None
    assert "a drill" in change.forced
    assert "no worse" in change.forced


def test_what_a_version_forgot_of_a_replayed_file_is_asked_at_its_promotion(
    engine: Engine, home: Path
) -> None:
    # Given a version that is as right as its parent on what people decided, and was measured to
    # have lost 5 points on the file that was replayed, which promotion cannot read again
    log(engine, decisions(300))
    receipt = add_version(home / "models", load("embedded").temperature)
    share = (0.1, 0.1, 0.1)

    def figures(accuracy: float) -> Figures:
        right = (accuracy, accuracy, accuracy)
        return Figures(items=400, accuracy=right, ece=share, share_below=share, f1={})

    told = {"parent": figures(0.90), "candidate": figures(0.85)}
    forgetful = receipt.model_copy(update={"old_domain": "old.jsonl", "figures": {"old": told}})
    (home / "models" / "sentiment" / "v1" / "receipt.json").write_text(forgetful.model_dump_json())
    # If I promote it, I expect the gate to say so
    refused = hitl(engine, home, model_app, "promote", "v1")
    assert refused.exit_code == 1, refused.output
    assert "pass  no worse" in refused.stdout
    assert "FAIL  remembers: right on 85.0% of 400 texts of old.jsonl" in refused.stdout
    # and to let one pass that has lost little.
    told["candidate"] = figures(0.89)
    (home / "models" / "sentiment" / "v1" / "receipt.json").write_text(forgetful.model_dump_json())
    assert "pass  remembers" in hitl(engine, home, model_app, "promote", "v1").stdout


def test_bad_orders_are_refused_in_words(engine: Engine, home: Path) -> None:
    def said(*words: str, app: Any = retrain_app) -> str:
        ran = hitl(engine, home, app, *words)
        assert ran.exit_code == 1, ran.output
        return ran.stderr

    assert "nothing has been reviewed yet" in said()
    log(engine, decisions(40, labels=("positive",)))
    assert "100 are needed" in said()
    assert "from one label alone" in said("--min-labels", "10")
    assert "no file for workflow nothing" in said("--workflow", "nothing")
    assert "no interrupted training" in said("--resume")
    for command in (("show", "v9"), ("promote", "v9"), ("compare", "base", "v9"), ("shadow", "v9")):
        assert "no model version 'v9'; it has base" in said(*command, app=model_app)
    (home / "wrong.csv").write_text("text,label\na film,lovely\n")
    log(engine, decisions(60, first=40))
    refused = said("--min-labels", "10", "--replay", str(home / "wrong.csv"))
    assert "row 1: needs a text and a label out of negative, positive" in refused


def test_a_shadow_that_would_score_nothing_is_refused(
    engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a workflow that asks for several labels, whose models score nothing beside the live one
    table = 'name = "moderation"\nanswer = "labels"\nlabels = ["toxic"]\nmodel = "x"\n'
    (tmp_path / "moderation.toml").write_text(f"[workflow]\n{table}[policy]\nthreshold = 0.9\n")
    monkeypatch.setenv("HITL_WORKFLOWS_DIR", str(tmp_path))
    # If somebody asks for it, I expect to hear what to do instead.
    asked = hitl(engine, home, model_app, "shadow", "v1", "--workflow", "moderation")
    assert asked.exit_code == 1
    assert "`hitl model compare`" in asked.stderr


def test_two_never_run_at_once(engine: Engine, home: Path, tmp_path: Path) -> None:
    log(engine, decisions(40))
    # Given a training that runs here, another is refused
    with only_one(home / "models" / "sentiment", engine, "sentiment"):
        here = hitl(engine, home, retrain_app)
        assert here.exit_code == 1
        assert "is already running (process" in here.stderr
    # and so is one beside a training on another machine, whose folder is another one.
    with only_one(tmp_path / "elsewhere", engine, "sentiment"):
        there = hitl(engine, home, retrain_app)
        assert there.exit_code == 1
        assert "is already running on another machine" in there.stderr
    # Another workflow may be trained meanwhile, and when they have ended, so may this one.
    with only_one(tmp_path / "elsewhere", engine, "topics"):
        after = hitl(engine, home, retrain_app)
        assert "are needed" in after.stderr


class Killed(Exception):
    """The process ends here."""


def test_an_interrupted_training_goes_on_to_the_same_weights(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    log(engine, decisions(80))
    parts = parts_of(engine)
    whole = trained(engine, Registry(tmp_path / "whole", "sentiment"))
    # Given a training that ends in its second epoch
    registry = Registry(tmp_path / "models", "sentiment")
    start_unfinished(registry, Plan.of("base", 7, None, parts))
    steps: list[float] = []

    def killed(part: float, _what: str) -> None:
        steps.append(part)
        if part > 0.6:
            raise Killed

    order = TrainingPlan("base", embedded.SHIPPED_ADAPTER, 0.85, 7, 10, by="a test", recipe=TINY)
    base = load("embedded")

    def go(progress: Any) -> Receipt:
        return retrain(
            registry, order, base, parts, None, lambda f: load(str(f)), utc_now, progress
        )

    with pytest.raises(Killed):
        go(killed)
    assert registry.versions() == []
    # If it goes on
    resumed: list[float] = []
    receipt = go(lambda part, _what: resumed.append(part))
    # I expect it not to begin anew, and the weights of a training that was never interrupted
    assert min(part for part in resumed if part > 0.05) > 0.4
    assert receipt.model_version == whole.model_version
    assert not registry.unfinished.exists()


def test_any_transformers_classifier_can_be_trained_on(engine: Engine, tmp_path: Path) -> None:
    # Given a checkpoint of another kind, with three labels
    log(engine, decisions(60))
    source = tmp_path / "tiny"
    write(source, BertForSequenceClassification(BertConfig(**SIZE, **LABELS)))
    registry = Registry(tmp_path / "models", "sentiment")
    labels = load(str(source)).labels
    parts = divide(reviewed(engine, "sentiment"), labels, ())
    # If I train on it
    receipt = retrain(
        registry,
        TrainingPlan("base", source, 0.85, 7, 10, by="a test", recipe=TINY),
        load(str(source)),
        parts,
        None,
        lambda folder: load(str(folder)),
        utc_now,
        lambda _part, _what: None,
    )
    # I expect a checkpoint that the worker loads as the version that the receipt names
    model = load(str(registry.folder / receipt.folder))
    assert model.model_version == receipt.model_version
    assert model.labels == labels
    assert model.temperature == pytest.approx(receipt.temperature)


def test_what_is_held_out_stays_so_and_judges_nothing_it_was_taught(engine: Engine) -> None:
    # Given decisions among which a held-out text comes again under another id
    journeys = decisions(100)
    held = next(j for j in journeys if is_held_out(j.item.id))
    free = next(f"again-{n}" for n in range(100) if not is_held_out(f"again-{n}"))
    twin = Told(free, held.item.text.upper() + " ", "positive")
    log(engine, [*journeys, twin])
    parts = parts_of(engine)
    # I expect it not to be trained on, and counted
    assert free not in {i.item_id for i in (*parts.train, *parts.calibration)}
    assert parts.left_out["repeated_text"] == 1
    assert held.item.id in {i.item_id for i in parts.held_out}
    # and where it had been trained on before, its twin to judge nothing.
    again = divide(reviewed(engine, "sentiment"), ("negative", "positive"), {free})
    assert held.item.id not in {i.item_id for i in again.held_out}


def test_a_training_that_goes_on_is_not_judged_by_what_it_has_read(engine: Engine) -> None:
    # Given a training that was interrupted, and a text of it that comes again as a held-out item
    log(engine, decisions(60))
    before = parts_of(engine)
    plan = Plan.of("base", 7, None, before)
    name = next(f"again-{n}" for n in range(100) if is_held_out(f"again-{n}"))
    log(engine, [Told(name, before.train[0].text, "positive")])
    # If it goes on
    parts = divide(
        plan.restrict(reviewed(engine, "sentiment")), ("negative", "positive"), plan.trained
    )
    # I expect the very examples that it began with, and the text to judge nothing
    assert parts.train == before.train
    assert parts.calibration == before.calibration
    assert parts.held_out == before.held_out


def test_what_any_earlier_version_was_taught_measures_no_old_domain(
    engine: Engine, tmp_path: Path
) -> None:
    # Given a text of the replay set that an earlier version was trained on, and this one is not
    log(engine, decisions(60))
    source = tmp_path / "tiny"
    write(source, BertForSequenceClassification(BertConfig(**SIZE, **LABELS)))
    model = load(str(source))
    parts = divide(reviewed(engine, "sentiment"), model.labels, ())
    parts = parts._replace(taught=frozenset({text_key("known by heart")}))
    old = ReplaySet(
        "movies",
        [],
        [
            LabelledText(told, LabelAnswer(label="negative"))
            for told in ("known by heart", "never read")
        ],
    )
    # If I train on
    receipt = retrain(
        Registry(tmp_path / "models", "sentiment"),
        TrainingPlan("base", source, 0.85, 7, 10, by="a test", recipe=TINY),
        model,
        parts,
        old,
        lambda folder: load(str(folder)),
        utc_now,
        lambda _part, _what: None,
    )
    # I expect it to be measured on the other one only
    assert receipt.figures["old"]["candidate"].items == 1


def test_of_many_decisions_only_the_newest_are_held_in_memory(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given 200 decisions, of which at most 20 that are held out and 50 others are wanted, and a
    # version that was trained on the oldest of them
    journeys = decisions(200)
    log(engine, journeys)
    monkeypatch.setattr(labelled_texts, "MAX_HELD_OUT", 20)
    monkeypatch.setattr(labelled_texts, "MAX_OTHERS", 50)
    newest_first = list(reviewed(engine, "sentiment"))
    oldest = next(i for i in reversed(newest_first) if not is_held_out(i.item_id))
    parts = divide(newest_first, ("negative", "positive"), {oldest.item_id})
    # I expect the newest of each, the others counted,
    assert len(parts.held_out) == 20
    assert len(parts.train) + len(parts.calibration) == 50
    assert parts.left_out["older"] == 130
    held_out = [i.item_id for i in newest_first if is_held_out(i.item_id)]
    assert [i.item_id for i in parts.held_out] == held_out[:20]
    # and that what was taught once is remembered for ever.
    assert parts.taught == {text_key(oldest.text)}


@pytest.fixture(autouse=True)
def threads_are_as_before() -> Iterator[None]:
    before = torch.get_num_threads(), threading.active_count()
    yield
    torch.set_num_threads(before[0])


def test_two_versions_are_compared_on_decisions_and_on_live_traffic(
    engine: Engine, home: Path
) -> None:
    # Given a version in the shadow of the live model, 40 items that both scored, and people's word
    journeys = decisions(150)
    log(engine, journeys)
    version = add_version(home / "models", 2.0)
    base = load("embedded").model_version
    shadowed = hitl(engine, home, model_app, "shadow", "v1", "--share", "0.2")
    assert "also scores 20% of the items" in shadowed.stdout
    listed = json.loads(hitl(engine, home, model_app, "list", "--json").stdout)
    assert [row["role"] for row in listed] == ["live", "shadow 20%"]
    events = [
        ItemShadowScored(
            workflow="sentiment",
            occurred_at=NOW,
            shadow_item_id=journey.item.id,
            prediction=Prediction(
                label=journey.label if number % 10 else "positive",
                confidence=0.6 + 0.009 * number,
                distribution={"negative": 0.5, "positive": 0.5},
                model_version=f"{version.model_version}+bf16",
            ),
            live_label="positive",
            live_confidence=0.95,
            live_model_version=base,
        )
        for number, journey in enumerate(journeys[:40])
    ]
    logger = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    assert list(logger.handle([delivered(event) for event in events])) == [()] * 40
    # If I compare them
    found = json.loads(hitl(engine, home, model_app, "compare", "base", "v1", "--json").stdout)
    # I expect what both were worth on the held-out decisions and whether it might be promoted
    assert found["held_out"][0]["items"] == found["held_out"][1]["items"] > 20
    assert {gate["name"] for gate in found["gates"]} >= {"enough labels"}
    # and on the live items: agreement, who was right by people, and what would be accepted.
    live = found["live"]
    assert (live["items"], live["reviewed"]) == (40, 40)
    assert live["live_right"] == 0.5
    assert live["candidate_right"] == pytest.approx(36 / 40)
    assert live["agreement"] == pytest.approx(24 / 40)
    assert live["live_accepted"] == 1.0
    assert live["candidate_accepted"] == pytest.approx(12 / 40)
    assert live["psi"] > 1
    words = hitl(engine, home, model_app, "compare", "base", "v1").stdout
    assert "live: 40 items scored by both" in words
    assert "shadowing ended" in hitl(engine, home, model_app, "shadow", "--stop").stdout


def test_an_audited_item_stands_for_those_that_nobody_saw(engine: Engine) -> None:
    # Given a decision about an item that the machine would have accepted, drawn for the panel
    event = Told("audited", "a fine film", "positive").reviewed("positive")
    sampling = Sampling(u=0.01, q=0.05, salt_version="s1", on_panel=True)
    decision = event.decision.model_copy(update={"threshold": 0.7, "sampling": sampling})
    logger = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    assert list(logger.handle([delivered(event.model_copy(update={"decision": decision}))])) == [()]
    [found] = reviewed(engine, "sentiment")
    # I expect it to stand for the twenty of which one is drawn
    assert found.weight == pytest.approx(20)
    assert (found.item_id, found.label) == ("audited", "positive")


def test_an_audited_item_that_came_to_people_anyway_stands_for_itself(engine: Engine) -> None:
    # Given items that the machine was sure of, on the panel, that people would have got anyhow
    logger = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    for code in ("rule", "always_review", "unknown_label", "not_fully_read"):
        event = Told(code, f"a fine film, {code}", "positive").reviewed("positive")
        decision = event.decision.model_copy(
            update={
                "threshold": 0.7,
                "sampling": Sampling(u=0.01, q=0.05, salt_version="s1", on_panel=True),
                "reasons": (
                    RouteReason(code="panel", text="drawn at random for the audit panel"),
                    RouteReason(code=code, text="people decide these"),
                ),
            }
        )
        told = delivered(event.model_copy(update={"decision": decision}))
        assert list(logger.handle([told])) == [()]
    # I expect each to count once: their like off the panel were decided by people, too.
    found = list(reviewed(engine, "sentiment"))
    assert [each.weight for each in found] == [1.0] * 4


def test_resuming_takes_what_the_training_began_with(engine: Engine, home: Path) -> None:
    # Given a training of 60 decisions that was interrupted, and 60 more decisions since
    log(engine, decisions(60))
    parts = parts_of(engine)
    registry = Registry(home / "models", "sentiment")
    start_unfinished(registry, Plan.of("base", 11, home / "old.jsonl", parts))
    log(engine, [Told(f"new-{n}", f"a {GOOD[n % 6]} scene {n}", "positive") for n in range(60)])
    # If I resume it, I expect its seed, its replay and its decisions
    ran = hitl(engine, home, retrain_app, "--resume", "--min-labels", "10")
    assert ran.exit_code == 0, ran.output
    receipt = registry.receipt("v1")
    assert receipt.seed == 11
    assert receipt.replay is not None
    assert receipt.replay.source == "old.jsonl"
    assert {s.item_id for s in receipt.trained_on} == {i.item_id for i in parts.train}
    assert not registry.unfinished.exists()
