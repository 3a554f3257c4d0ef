"""Do our own exports go into every command that takes such a thing, and arrive as they were?"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hitl.commands.export import app as export_app
from hitl.commands.seed import app as seed_app
from hitl.ledger.erase import Erasure, erase_text
from hitl.support.item_files import Format, Wanted, read_folder, read_lines
from services.feedback.training.replay_set import from_file
from services.feedback.training.train_texts import labelled
from services.review_ui.reports import export as page_export
from shared.answers.base import AnswerSpec
from shared.errors import ConfigurationError
from shared.formats.rows_out import Format as RowFormat
from shared.workflows.files import ReviewRules
from tests.support.filled_database import log
from tests.support.item_events import START
from tests.support.review_data import ReviewRoom
from tests.support.review_service import requested, take_in

# Texts and ids that a format, a spreadsheet or a reader could take for something else.
TEXTS = {
    "007": "=1+1",
    "'-2": "'=already disarmed",
    "null": 'a "quoted" text,\nwith two lines; and\u2028more',
    "NA": "None",
    "x" * 200: "l" * 200_000,
    "=x": "\U0001f600 \u200b",
}
METADATA: dict[str, JsonValue] = {
    "n": 9_007_199_254_740_993,
    "tags": ["a", "=b"],
    "score": 0.1,
    "none": None,
}


@pytest.fixture
def decided(engine: Engine) -> Engine:
    """Each item answered, every second one unlike the AI; and one whose text was erased."""
    room = ReviewRoom(engine, ReviewRules())
    for place, (item, told) in enumerate([*TEXTS.items(), ("gone", "erased")]):
        asked = requested(item, text=told, metadata=METADATA)
        log(engine, asked)
        take_in(engine, asked)
        room.answer("ann", ("negative", "positive")[place % 2])
        log(engine, *room.published_at_last())
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure("sentiment", "gone", "lea", "asked for", START))
    return engine


def run(engine: Engine, app: object, *words: str) -> str:
    url = engine.url.render_as_string(hide_password=False)
    done = CliRunner().invoke(app, words, env={"DATABASE_URL": url})  # type: ignore[arg-type]
    assert done.exit_code == 0, done.output
    return done.output


def exported_labels(engine: Engine, form: str, folder: Path) -> Path:
    """`hitl export labels`."""
    out = folder / ("dataset" if form == "hf" else f"labels.{form}")
    run(engine, export_app, "labels", "--format", form, "--out", str(out))
    return out


FORMS = ["csv", "jsonl", "parquet", "hf"]
LABELS = {told: ("negative", "positive")[at % 2] for at, told in enumerate(TEXTS.values())}


PEERS = ["label-studio", "doccano", "prodigy"]


@pytest.mark.parametrize("form", [*FORMS, *PEERS])
def test_exported_labels_teach_and_are_replayed(decided: Engine, form: str, tmp_path: Path) -> None:
    # If a model is taught by our own file, I expect it to read every text and label
    file = exported_labels(decided, form, tmp_path)
    examples, names = labelled(file)
    assert names == ("negative", "positive")
    assert {example.text: names[example.shares.index(1.0)] for example in examples} == LABELS
    # and a retraining to replay them.
    old = from_file(file, names)
    found = {each.text: names[each.shares.index(1.0)] for each in old.examples}
    assert found | {each.text: each.answer.brief for each in old.held_out} == LABELS


@pytest.mark.parametrize("form", FORMS)
def test_exported_labels_become_known_items(decided: Engine, form: str, tmp_path: Path) -> None:
    # If the reviewers are to be measured by what was decided
    file = exported_labels(decided, form, tmp_path)
    said = run(decided, seed_app, str(file))
    assert f"{len(TEXTS)} gold items added" in said
    # I expect ids, texts, labels, metadata and the AI's shares as they were
    with decided.connect() as connection:
        rows = connection.execute(
            text("SELECT item_id, text, label, metadata, distribution FROM known_item")
        ).all()
    assert {row.item_id: row.text for row in rows} == TEXTS
    assert {row.text: row.label for row in rows} == LABELS
    assert all(row.metadata == METADATA for row in rows)
    assert all(row.distribution == {"positive": 0.7, "negative": 0.3} for row in rows)


def published(file: Path, form: Format, wanted: Wanted) -> list[dict[str, object]]:
    if form in ("parquet", "hf"):
        found = list(read_folder(file, wanted))
    else:
        with file.open("rb") as lines:
            found = list(read_lines(lines, form, wanted))
    problems = [line.problem for line in found if line.problem]
    assert [problem for problem in problems if "erased" not in problem] == []
    return [json.loads(line.body) for line in found if not line.problem]


def exported_items(engine: Engine, form: RowFormat, folder: Path) -> Path:
    """`GET /export/items`."""
    file = folder / f"items.{form}"
    wanted = page_export.Export("items", ["sentiment"])
    file.write_bytes(b"".join(page_export.rows(engine, wanted, form)))
    return file


@pytest.mark.parametrize("form", [*FORMS, *PEERS])
def test_exported_items_are_published_as_they_were(
    decided: Engine, form: Format, tmp_path: Path
) -> None:
    # If the exports of another stack are published here, I expect the items: id, text, metadata
    files = [exported_labels(decided, form, tmp_path)]
    if form in ("csv", "jsonl", "parquet"):
        files.append(exported_items(decided, form, tmp_path))
    for file in files:
        found = published(file, form, Wanted())
        assert {item["id"]: item["text"] for item in found} == TEXTS
        assert all(item["metadata"] == METADATA for item in found)
        assert all(item.keys() == {"id", "text", "metadata"} for item in found)
        # and what the AI had said, where a workflow takes what comes with an item.
        said = {"label": "positive"}, 0.7, {"positive": 0.7, "negative": 0.3}
        for item in published(file, form, Wanted(AnswerSpec(predictions=True))):
            prediction: Any = item["prediction"]
            assert tuple(prediction[n] for n in ("answer", "confidence", "parts")) == said
            assert prediction["model_version"] == "test@1"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_pages_corrections_teach_too(decided: Engine, form: RowFormat, tmp_path: Path) -> None:
    file = tmp_path / f"corrections.{form}"
    wanted = page_export.Export("corrections", ["sentiment"])
    file.write_bytes(b"".join(page_export.rows(decided, wanted, form)))
    old = from_file(file, ("negative", "positive"))
    found = {each.text for each in old.examples} | {each.text for each in old.held_out}
    assert found - {"erased"} == {told for told, label in LABELS.items() if label == "negative"}


def test_what_has_no_label_or_no_text_is_refused_with_its_reason(
    decided: Engine, tmp_path: Path
) -> None:
    for what, reason in (("items", "needs a text and a label"), ("decisions", "without texts")):
        file = tmp_path / f"{what}.csv"
        wanted = page_export.Export(what, ["sentiment"])  # type: ignore[arg-type]
        file.write_bytes(b"".join(page_export.rows(decided, wanted, "csv")))
        with pytest.raises(ConfigurationError, match=reason):
            labelled(file)


def test_an_export_without_a_row_says_so(engine: Engine, tmp_path: Path) -> None:
    # Given nothing to export
    url = engine.url.render_as_string(hide_password=False)
    folder = tmp_path / "dataset"
    words = ["labels", "--format", "hf", "--out", str(folder)]
    done = CliRunner().invoke(export_app, words, env={"DATABASE_URL": url})
    # I expect no folder that the library datasets could not load, and the reason
    assert done.exit_code == 1
    assert "no rows" in done.output and "empty" in done.output
    assert not folder.exists()
    # and of the other formats files that can be read.
    for form in ("csv", "jsonl", "parquet"):
        with pytest.raises(ConfigurationError, match="two labels"):
            labelled(exported_labels(engine, form, tmp_path))
