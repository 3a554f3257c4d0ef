"""Do people's sets of labels and spans become a version that the worker serves? On Postgres."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from hitl.commands.model import app as model_app
from hitl.commands.retrain import app as retrain_app
from services.feedback.registry.receipt import Receipt, read_receipt
from services.feedback.registry.versions import Registry
from services.feedback.training.examples import labelled_texts
from services.feedback.training.gates import MIN_HELD_OUT
from services.feedback.training.labelled_texts import is_for_calibration, is_held_out
from services.feedback.training.retrain import MIN_CALIBRATION
from services.logger.handler import Logger
from shared.answers.base import AnswerSpec, Kind
from shared.clock import utc_now
from shared.events.answered import AnswerItem, AnswerReviewed, AnswerScored
from tests.integration.feedback.test_train_heads import RECIPE, messages, names, trained
from tests.support.example_events import ANSWER_REVIEWED
from tests.support.item_events import delivered

Rows = Callable[..., Path]
ASKED: dict[Kind, tuple[str, ...]] = {
    "labels": ("billing", "delivery", "praise"),
    "spans": ("PER", "LOC"),
}
OTHERS: dict[Kind, Any] = {
    "labels": {
        "billing": ("my card was debited", "this costs too much", "cancel the subscription"),
        "delivery": ("where is my package", "the driver did not ring", "still in the depot"),
        "praise": ("I love it", "well done", "five stars"),
    },
    "spans": (
        "Yesterday {p} flew to {o}",
        "the office of {p}, {o}",
        "{o} greets {p}!",
        "ask {p} first",
    ),
}


EPOCHS: dict[Kind, int] = {"labels": 3, "spans": 1}
TRAINED = 48


def ids() -> list[str]:
    """Of so few items as make a version: enough held out, for calibration, and to train on."""
    names = [f"item-{number}" for number in range(1_000)]
    held_out = [name for name in names if is_held_out(name)]
    others = [name for name in names if not is_held_out(name)]
    calibration = [name for name in others if is_for_calibration(name)]
    train = [name for name in others if not is_for_calibration(name)]
    return held_out[:MIN_HELD_OUT] + calibration[:MIN_CALIBRATION] + train[:TRAINED]


def log(engine: Engine, kind: Kind, rows: list[dict[str, Any]]) -> None:
    """What the logger writes when people have answered: each time otherwise than the model."""
    logger = Logger(engine, workflows=["mail"], max_body_bytes=1 << 20, clock=utc_now)
    prediction = ANSWER_REVIEWED.prediction
    assert prediction is not None
    predicted = prediction.model_copy(update={"kind": kind, "answer": {kind: []}, "parts": None})
    events: list[AnswerScored | AnswerReviewed] = []
    for name, row in zip(ids(), rows, strict=True):
        item = AnswerItem(id=name, text=row["text"], metadata={}, received_at=utc_now())
        decision = ANSWER_REVIEWED.decision.model_copy(
            update={"kind": kind, "answer": {kind: row[kind]}, "ai_answer": {kind: []}}
        )
        more: dict[str, Any] = {
            "workflow": "mail", "item": item, "kind": kind, "prediction": predicted,
        }  # fmt: skip
        events.append(AnswerScored(occurred_at=utc_now(), **more))
        events.append(
            AnswerReviewed(
                occurred_at=utc_now(), decision=decision, review=ANSWER_REVIEWED.review, **more
            )
        )
    assert list(logger.handle([delivered(event) for event in events])) == [()] * len(events)


def hitl(engine: Engine, home: Path, app: Any, *words: str) -> Result:
    environment = {
        "DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "HITL_HOME": str(home),
        "HITL_WORKFLOWS_DIR": str(home / "workflows"),
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, [*words, "--workflow", "mail"], env=environment)


def retrained(engine: Engine, home: Path, kind: Kind, rows: Rows) -> Receipt:
    """A workflow with a model of some texts, people's answers to others, and what was made of
    them."""
    torch.set_num_threads(1)
    texts = labelled_texts(rows(home / "first.jsonl", 140), AnswerSpec(kind, ASKED[kind]))
    trained(texts, kind, home / "base", replace(RECIPE, epochs=EPOCHS[kind]))
    (home / "workflows").mkdir()
    (home / "workflows" / "mail.toml").write_text(
        f'[workflow]\nname = "mail"\nanswer = "{kind}"\nlabels = {json.dumps(ASKED[kind])}\n'
        f'model = "{home / "base"}"\n'
    )
    file = rows(home / "texts.jsonl", len(ids()), OTHERS[kind])
    log(engine, kind, [json.loads(line) for line in file.read_text().splitlines()])
    ran = hitl(engine, home, retrain_app, "--min-labels", "30")
    assert ran.exit_code == 0, ran.output
    receipt = read_receipt(home / "models" / "mail" / "v1")
    # Every receipt names the decisions, none of them held out, and the weights are others.
    assert receipt.kind == kind
    assert len(receipt.trained_on) > 0.8 * TRAINED  # no text twice
    assert not any(is_held_out(source.item_id) for source in receipt.trained_on)
    assert receipt.model_version != receipt.parent.model_version
    before, after = (receipt.figures["held_out"][who] for who in ("parent", "candidate"))
    assert before.micro_f1 and after.micro_f1
    assert after.micro_f1[0] >= before.micro_f1[0]
    return receipt


def test_sets_of_labels_become_a_version_with_a_temperature_for_each(
    engine: Engine, tmp_path: Path
) -> None:
    receipt = retrained(engine, tmp_path, "labels", messages)
    assert isinstance(receipt.temperature, dict)
    assert receipt.temperature.keys() == set(ASKED["labels"])
    assert receipt.figures["held_out"]["candidate"].label_ece.keys() == set(ASKED["labels"])


def test_spans_become_a_version_that_the_gates_let_pass(engine: Engine, tmp_path: Path) -> None:
    receipt = retrained(engine, tmp_path, "spans", names)
    assert isinstance(receipt.temperature, float)
    # If I promote it, I expect it to be loaded as where it is served, and put in use.
    promoted = hitl(engine, tmp_path, model_app, "promote", "v1")
    assert promoted.exit_code == 0, promoted.output
    assert Registry(tmp_path / "models", "mail").current_version() == "v1"
