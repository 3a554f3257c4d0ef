"""Do answers of every kind leave whole, in every format, and come in again as they were?"""

import json
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.commands.export import app as export_app
from hitl.ledger.erase import Erasure, erase_text
from hitl.support.item_files import Format, Line, Wanted, read_folder, read_lines
from services.review_ui.reports import export as page_export
from shared.answers.base import KINDS, AnswerSpec, Kind
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerReviewed
from shared.formats.peers.registry import PEERS
from shared.formats.rows_in import read_rows
from tests.support.example_events import ANSWER_REVIEWED
from tests.support.filled_database import log
from tests.support.item_events import at

TEXT = "\U0001f600 Peter of ACME,\r\n\tRene\u0301 owes 120 euros."
METADATA = {"n": 1, "tags": ["=1", None], "of": "O B-PER"}
PETER, ACME = {"start": 2, "end": 7, "label": "PER"}, {"start": 11, "end": 15, "label": "ORG"}
# The predicted answer, another one, and what the item brings.
ANSWERS: dict[Kind, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "labels": ({"labels": ["toxic", "insult"]}, {"labels": []}, {}),
    "spans": ({"spans": [PETER]}, {"spans": [PETER, ACME]}, {}),
    "form": ({"form": {"total": 12, "payee": "=ACME"}}, {"form": {"total": 12.5, "by": None}}, {}),
    "text": ({"text": "dear Peter"}, {"text": "Dear Peter"}, {"draft": "peter,\n pay"}),
    "preference": ({"preferred": 1}, {"preferred": None}, {"candidates": ["Pay!", "Please."]}),
    "approval": (
        {"verdict": "approve", "arguments": {"amount": 5}, "reply": None},
        {"verdict": "reject", "arguments": {"amount": 5}, "reply": "no,\nnot now"},
        {
            "action": {"name": "refund", "arguments": {"amount": 5}},
            "expires_at": "2030-01-01T00:00:00Z",
        },
    ),
}
PARTS: dict[Kind, Any] = {"labels": {"toxic": 0.75, "insult": 0.5}, "spans": [0.5]}
SAYS: dict[str, frozenset[Kind]] = {form: peer.says for form, peer in PEERS.items()}
FORMATS = tuple(each for each in get_args(Format) if each != "txt")


def spec_of(kind: Kind) -> AnswerSpec:
    return AnswerSpec(kind=kind, predictions=True)


def reviewed(kind: Kind, item_id: str, answer: dict[str, Any], told: bool = True) -> AnswerReviewed:
    """A person's answer, with what was predicted where the producer `told` it."""
    brought = {"id": item_id, "text": TEXT, "metadata": METADATA, "received_at": at(0)}
    prediction = AnswerPrediction(
        kind=kind,
        answer=ANSWERS[kind][0],
        confidence=0.1 + 0.2,
        parts=tuple(PARTS[kind]) if kind == "spans" else PARTS.get(kind),
        model_version="theirs@1",
    )
    same = prediction.answer == answer
    decision = ANSWER_REVIEWED.decision.model_copy(
        update={
            "kind": kind,
            "answer": answer,
            "ai_answer": prediction.answer if told else None,
            "model_version": "theirs@1" if told else "none",
            "action": "accepted" if told and same else "corrected",
        }
    )
    return ANSWER_REVIEWED.model_copy(
        update={
            "workflow": kind,
            "item": AnswerItem.model_validate(brought | ANSWERS[kind][2]),
            "kind": kind,
            "prediction": prediction if told else None,
            "decision": decision,
        }
    )


@pytest.fixture
def answered(engine: Engine) -> Engine:
    """Of each kind an answer that was accepted, one that was corrected, and one where nothing was
    predicted."""
    for kind, (predicted, other, _) in ANSWERS.items():
        log(engine, reviewed(kind, f"{kind}-accepted", predicted))
        log(engine, reviewed(kind, f"{kind}-corrected", other))
        log(engine, reviewed(kind, f"{kind}-open", other, told=False))
    return engine


def run(engine: Engine, *words: str) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(export_app, words, env={"DATABASE_URL": url})


def rows(engine: Engine, *words: str) -> list[dict[str, Any]]:
    done = run(engine, *words, "--format", "jsonl")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def lines_of(path: Path, form: Format, kind: Kind) -> list[Line]:
    wanted = Wanted(spec_of(kind))
    if form in ("parquet", "hf"):
        return list(read_folder(path, wanted))
    with path.open("rb") as file:
        return list(read_lines(file, form, wanted))


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_exported_is_published_as_it_was(
    answered: Engine, form: Format, kind: Kind, tmp_path: Path
) -> None:
    # If I export the answers of a kind
    out = tmp_path / "out"
    done = run(answered, "labels", "--workflow", kind, "--format", form, "--out", str(out))
    # I expect a format without words for it to be refused by name, and no file;
    if form in SAYS and kind not in SAYS[form]:
        assert done.exit_code == 1
        assert f"item '{kind}-accepted': {form} has no words for a {kind} answer" in done.output
        assert not out.exists()
        return
    assert done.exit_code == 0, done.output
    # of the others the items as a producer sends them, with their predictions.
    predicted, _, brought = ANSWERS[kind]
    found = lines_of(out, form, kind)
    assert [line.problem for line in found] == [None] * 3
    assert [line.unsent for line in found] == [["answers"]] * 3
    said: dict[str, Any] = {
        "answer": predicted,
        "confidence": 0.1 + 0.2,
        "model_version": "theirs@1",
    }
    if kind in PARTS:
        said["parts"] = PARTS[kind]
    for line, name in zip(found, ("accepted", "corrected", "open"), strict=True):
        item = {"id": f"{kind}-{name}", "text": TEXT, "metadata": METADATA, **brought}
        assert json.loads(line.body) == item | ({} if name == "open" else {"prediction": said})


@pytest.mark.parametrize("kind", ANSWERS)
def test_corrections_are_the_answers_that_are_not_the_predicted_ones(
    answered: Engine, kind: Kind
) -> None:
    # I expect both answers in full, whatever letters they differ by, and an item of which nothing
    # was predicted among the labels alone.
    (row,) = rows(answered, "corrections", "--workflow", kind)
    assert (row["kind"], row["item_id"]) == (kind, f"{kind}-corrected")
    assert (row["ai_answer"], row["answer"]) == ANSWERS[kind][:2]
    labels = {row["item_id"]: row for row in rows(answered, "labels", "--workflow", kind)}
    assert labels[f"{kind}-open"]["ai_answer"] is None
    assert labels[f"{kind}-open"]["answer"] == ANSWERS[kind][1]
    for name, value in ANSWERS[kind][2].items():
        assert row["asked_action" if name == "action" else name] == value


def test_the_label_filter_finds_labels_within_answers(answered: Engine) -> None:
    assert {row["item_id"] for row in rows(answered, "labels", "--label", "org")} == {
        "spans-corrected",
        "spans-open",
    }
    (row,) = rows(answered, "labels", "--label", "insult")
    assert row["item_id"] == "labels-accepted"
    # and a verdict, of which the log says nothing; and the same of events, which have the labels.
    found = rows(answered, "labels", "--label", "Reject")
    assert {row["answer"]["verdict"] for row in found} == {"reject"}
    told = rows(answered, "events", "--label", "insult")
    assert {row["item_id"] for row in told} == {"labels-accepted"}, told


def test_an_erased_answer_is_nowhere(answered: Engine, tmp_path: Path) -> None:
    # Given an erased item of each kind
    for kind in ANSWERS:
        with Session(answered) as session, session.begin():
            erase_text(session, Erasure(kind, f"{kind}-corrected", "lea", "asked for", at(500)))
    # I expect its row without a person's words, and that other formats leave it out and say so
    for kind in ANSWERS:
        (row,) = rows(answered, "corrections", "--workflow", kind)
        left = {"input_text", "metadata", "draft", "candidates", "asked_action"}
        assert {row[name] for name in left} == {None}
        if kind in ("form", "text", "approval"):
            assert (row["answer"], row["ai_answer"]) == (None, None)
    out = tmp_path / "out.json"
    words = ["--workflow", "text", "--format", "label-studio", "--out", str(out)]
    done = run(answered, "labels", *words)
    assert "2 labels" in done.output and "Without 1 items whose text was erased" in done.output
    assert len(json.loads(out.read_text())) == 2


def test_files_of_several_kinds_and_of_events_are_refused(answered: Engine, tmp_path: Path) -> None:
    done = run(answered, "labels", "--format", "label-studio", "--out", str(tmp_path / "x"))
    assert done.exit_code == 1 and "choose a --workflow" in done.output
    done = run(answered, "events", "--format", "doccano")
    assert done.exit_code == 2 and "no words for events" in done.output


def test_rows_of_other_kinds_have_an_answer_and_no_label(answered: Engine, tmp_path: Path) -> None:
    # If a training reads our own file of another kind, I expect no short line taken for a label
    out = tmp_path / "labels.csv"
    assert run(answered, "labels", "--workflow", "labels", "--out", str(out)).exit_code == 0
    assert [row["answer"] for row in read_rows(out)] == [
        {"labels": ["toxic", "insult"]},
        {"labels": []},
        {"labels": []},
    ]
    assert not any("label" in row for row in read_rows(out))
    # and pandas to read the answers as documented.
    table = pd.read_csv(out, keep_default_na=False)
    assert json.loads(table["answer"][0]) == {"labels": ["toxic", "insult"]}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_api_exports_answers_too(answered: Engine, kind: Kind) -> None:
    wanted = page_export.Export("items", [kind])
    found = map(json.loads, b"".join(page_export.rows(answered, wanted, "jsonl")).splitlines())
    # An item of which no task is known here is hidden until it is decided; these are.
    items = {row["id"]: row for row in found}
    predicted, other, brought = ANSWERS[kind]
    row = items[f"{kind}-corrected"]
    assert (row["kind"], row["ai_answer"], row["answer"]) == (kind, predicted, other)
    for name, value in brought.items():
        assert row["asked_action" if name == "action" else name] == value


def test_every_kind_is_tested() -> None:
    assert set(ANSWERS) == set(KINDS) - {"label"}  # test_export_cli.py
    with pytest.raises(KeyError):
        ANSWERS["label"]


def test_nothing_of_a_draft_is_in_the_log(answered: Engine) -> None:
    with answered.connect() as connection:
        count = connection.scalar(text("SELECT count(*) FROM event WHERE data::text ~ 'Dear'"))
    assert count == 0
