"""Do the people's decisions leave whole, exact and as a notebook reads them? On a real Postgres."""

import csv
import io
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from typer.testing import CliRunner, Result

from hitl.commands.disagreements import app as disagreements_app
from hitl.commands.export import app as export_app
from hitl.ledger.erase import Erasure, erase_text
from services.feedback.reports.export import DATASET_FILE
from services.logger.handler import Logger
from shared.answers.base import Kind
from shared.clock import utc_now
from tests.support.answer_events import KINDS, AnswerJourney
from tests.support.filled_database import log
from tests.support.item_events import PREDICTION, Journey, delivered

FORMULA = "=HYPERLINK(1)"
TEXTS = {
    "corrected": "a film that is anything but good, 'quoted',\nand more",
    "agreed": FORMULA,
    "reopened": "die K\u00f6nigin \U0001f600",
    "machine": "never seen by a person",
}


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A corrected item, one agreed with, one reopened and corrected, and one of the machine."""
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    found = {name: Journey(name, text=told) for name, told in TEXTS.items()}
    events = [each.scored() for each in found.values()]
    asked = [found[name].review_requested() for name in ("corrected", "agreed", "reopened")]
    answers = [
        found["corrected"].reviewed("negative"),
        found["agreed"].reviewed("positive"),
        found["reopened"].reviewed("positive"),
        found["reopened"].reviewed("negative", revision=2),
    ]
    log.handle([delivered(e) for e in [*events, found["machine"].accepted(), *asked, *answers]])
    return engine


def run(engine: Engine, *words: str, disagreements: bool = False) -> Result:
    url = engine.url.render_as_string(hide_password=False)
    app = disagreements_app if disagreements else export_app
    return CliRunner().invoke(app, words, env={"DATABASE_URL": url, "COLUMNS": "200"})


def test_corrections_open_in_pandas(filled: Engine) -> None:
    # If I export the corrections as CSV
    said = run(filled, "corrections")
    # I expect a row for each item whose label people changed, the last decision counting
    table = pd.read_csv(io.StringIO(said.stdout), parse_dates=["decided_at"])
    table = table.sort_values("item_id", ignore_index=True)
    assert list(table["item_id"]) == ["corrected", "reopened"]
    assert list(table["input_text"]) == [TEXTS["corrected"], TEXTS["reopened"]]
    assert list(table["correct_label"]) == ["negative", "negative"]
    assert list(table["ai_label"]) == ["positive", "positive"]
    # with the AI's output, the reviewer and the versions
    assert table["ai_confidence"][0] == 0.75
    assert json.loads(table["ai_distribution"][0]) == {"negative": 0.25, "positive": 0.75}
    assert list(table["reviewer"]) == ["reviewer 1", "reviewer 2"]
    assert table["model_version"][0] == "test@1" and table["policy_version"][0] == "policy-1"
    assert json.loads(table["metadata"][0]) == {"row": 7}
    assert "2 corrections" in said.stderr


def test_labels_are_all_decisions_of_people_and_filters_narrow_them(filled: Engine) -> None:
    def ids(*words: str) -> list[str]:
        said = run(filled, "labels", "--format", "jsonl", *words)
        assert said.exit_code == 0, said.stderr
        return [json.loads(line)["item_id"] for line in said.stdout.splitlines()]

    # If I export the labels, I expect those that people confirmed, too, and none of the machine's
    assert sorted(ids()) == ["agreed", "corrected", "reopened"]
    # and each filter to narrow them
    assert ids("--label", "positive") == ids("--label", " POSITIVE") == ["agreed"]
    assert ids("--label", "positiv") == []
    assert ids("--reviewer", "reviewer 2") == ["reopened"]
    assert ids("--workflow", "other") == []
    assert ids("--since", "2024-05-01T12:01:42") == ["reopened"]
    assert sorted(ids("--until", "2024-05-01T12:01:42")) == ["agreed", "corrected"]


def test_a_text_is_exact_but_for_formulas_in_csv(filled: Engine) -> None:
    # Given a text that a spreadsheet would run
    # I expect it disarmed in CSV
    csv_said = run(filled, "labels", "--label", "positive").stdout
    assert pd.read_csv(io.StringIO(csv_said))["input_text"][0] == f"'{FORMULA}"
    # and exact in JSON
    line = run(filled, "labels", "--label", "positive", "--format", "jsonl").stdout
    assert json.loads(line)["input_text"] == FORMULA


def test_events_leave_with_all_they_say(filled: Engine) -> None:
    # If I export the events, I expect every row of the log, in its order
    said = run(filled, "events", "--format", "jsonl")
    events = [json.loads(line) for line in said.stdout.splitlines()]
    with filled.connect() as connection:
        assert len(events) == connection.scalar(text("SELECT count(*) FROM event"))
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert {event["type"] for event in events} >= {"item.scored", "item.reviewed"}
    assert all(isinstance(event["data"], dict) for event in events)


def test_a_parquet_file_and_a_dataset_folder(filled: Engine, tmp_path: Path) -> None:
    # If I export to a Parquet file
    file = tmp_path / "labels.parquet"
    said = run(filled, "labels", "--format", "parquet", "--out", str(file))
    # I expect a table with types
    table = pq.read_table(file)
    assert said.exit_code == 0 and table.num_rows == 3
    assert str(table.schema.field("decided_at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("on_panel").type) == "bool"
    # If I export a dataset's folder
    folder = tmp_path / "dataset"
    assert run(filled, "labels", "--format", "hf", "--out", str(folder)).exit_code == 0
    # I expect its card to name the file that is there, and nothing half-written
    assert f"path: {DATASET_FILE.as_posix()}" in (folder / "README.md").read_text()
    assert pq.read_table(folder / DATASET_FILE).num_rows == 3
    assert sorted(p.name for p in folder.rglob("*")) == ["README.md", "data", DATASET_FILE.name]
    # and a second export not to mix with the first
    again = run(filled, "labels", "--format", "hf", "--out", str(folder))
    assert again.exit_code == 2 and "not empty" in again.stderr


def test_an_erased_text_leaves_as_nothing(filled: Engine) -> None:
    # Given an item whose text was erased
    with filled.begin() as connection:
        connection.execute(
            text(
                "UPDATE item SET text = NULL, metadata = NULL, erased_at = now()"
                " WHERE id = 'corrected'"
            )
        )
    # I expect its decision without a text, and the report to count it all the same
    rows = run(filled, "corrections", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(row)["item_id"]: json.loads(row)["input_text"] for row in rows} == {
        "corrected": None,
        "reopened": TEXTS["reopened"],
    }
    report = json.loads(run(filled, "--format", "json", disagreements=True).stdout)
    assert (report["items"], report["corrected"]) == (3, 2)


def test_the_report_says_where_people_disagree(filled: Engine, tmp_path: Path) -> None:
    # If I ask what people correct, and for a picture
    picture = tmp_path / "report.png"
    said = run(filled, "--plot", str(picture), disagreements=True)
    # I expect the counts, and that they say nothing about the whole stream without a panel
    assert said.exit_code == 0, said.stderr
    assert "3 items decided by people, 2 corrected" in said.stdout
    assert "None of them was on the audit panel" in said.stdout
    assert "positive \u2192 negative" in said.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_metadata_with_brackets_is_printed_as_it_is(engine: Engine) -> None:
    # Given corrected items whose metadata would be markup for a terminal
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    items = [Journey(name) for name in "abcde"]
    for each in items:
        each.item = each.item.model_copy(update={"metadata": {"team": "[/red]"}})
    log.handle([delivered(each.scored()) for each in items])
    log.handle([delivered(each.review_requested()) for each in items])
    log.handle([delivered(each.reviewed("negative")) for each in items])
    # I expect the table, with the value as it was sent
    said = run(engine, disagreements=True)
    assert said.exit_code == 0, said.exception
    assert "[/red]" in said.stdout


KIND_LINES = {
    "labels": ("insult \u2192 (taken away)", "toxic \u2192 (taken away)"),
    "spans": ("PER \u2192 (taken away)", "(overlooked) \u2192 ADDRESS"),
    "form": ("total \u2192 (taken away)", "(overlooked) \u2192 address[]"),
    "text": (),
    "preference": ("candidate 1 \u2192 tie",),
    "approval": ("approve \u2192 reject", "(overlooked) \u2192 reply"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_names_what_people_changed_in_answers_of_any_kind_and_nobodys_words(
    kind: Kind, engine: Engine, tmp_path: Path
) -> None:
    # Given answers full of a person's words: one accepted, two changed, one of them erased, and one
    # that nobody predicted
    of = {name: AnswerJourney(name, kind) for name in ("agreed", "other", "erased")}
    of["open"] = AnswerJourney("open", kind, predicted=False)
    said = KINDS[kind]
    log(engine, *(each.scored() for each in of.values()))
    log(engine, of["agreed"].answered(said.predicted))
    log(engine, *(of[name].answered(said.other) for name in ("other", "erased", "open")))
    with Session(engine) as session, session.begin():
        erase_text(session, Erasure(kind, "erased", "admin", "asked to", utc_now()))
    # If I ask what people correct
    picture = tmp_path / "report.png"
    shown = run(engine, "--workflow", kind, "--plot", str(picture), disagreements=True)
    assert shown.exit_code == 0, shown.output
    # I expect the counts and the changes, each by what was changed,
    assert "3 items decided by people, 2 corrected" in shown.stdout
    for line in KIND_LINES[kind]:
        assert line in shown.stdout, shown.stdout
    # and no word of a person, erased or not; nor the mark in an erased text's place.
    report = json.loads(
        run(engine, "--workflow", kind, "--format", "json", disagreements=True).stdout
    )
    for told in (shown.stdout, json.dumps(report)):
        assert "Harbour" not in told and "Emil" not in told
    assert sum(group["items"] for group in report["lengths"]) == 2


def test_where_nothing_was_predicted_the_report_says_so(engine: Engine) -> None:
    journey = AnswerJourney("open", "text", predicted=False)
    log(engine, journey.scored(), journey.answered(journey.said.other))
    said = run(engine, "--workflow", "text", disagreements=True)
    assert "'text' in that time that had a prediction" in said.stdout


def test_a_workflow_without_decisions_says_so(filled: Engine) -> None:
    said = run(filled, "--workflow", "other", disagreements=True)
    assert said.exit_code == 0 and "No person has decided an item of 'other'" in said.stdout


def test_no_database_is_one_clear_line(tmp_path: Path) -> None:
    # If there is no stack and no address, I expect to read what to do
    given = {"HITL_HOME": str(tmp_path), "DATABASE_URL": ""}
    said = CliRunner().invoke(export_app, ["labels"], env=given)
    assert said.exit_code == 1 and "hitl up" in said.stderr and "Traceback" not in said.stderr


def test_shares_leave_with_every_digit(engine: Engine) -> None:
    # Given predictions whose shares need all the digits of a double, the smallest included
    shares = (0.1 + 0.2, 1 / 3, 1 - 2**-53, 2**-53, 1e-7, 5e-324, 0.8500000000000001)
    found = {f"i{number}": share for number, share in enumerate(shares)}
    events = []
    for name, share in found.items():
        journey = Journey(name)
        both = {"positive": share, "negative": 1 - share}
        said = PREDICTION.model_copy(update={"confidence": share, "distribution": both})
        events += [
            event.model_copy(update={"prediction": said})
            for event in (journey.scored(), journey.reviewed("negative"))
        ]
    log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
    log.handle([delivered(event) for event in events])

    # If they are exported in any form, I expect the same doubles
    lines = run(engine, "labels", "--format", "jsonl").stdout.splitlines()
    rows = {row["item_id"]: row for row in map(json.loads, lines)}
    assert {name: row["ai_confidence"] for name, row in rows.items()} == found
    assert {name: row["ai_distribution"]["positive"] for name, row in rows.items()} == found
    table = run(engine, "labels").stdout
    cells = {row["item_id"]: row["ai_confidence"] for row in csv.DictReader(io.StringIO(table))}
    assert {name: float(cell) for name, cell in cells.items()} == found
    # and where the certificate is computed again: the scores as the panel reads them from the log
    read = text("SELECT item_id, data #>> '{prediction,confidence}' FROM event")
    with engine.connect() as connection:
        assert {name: float(score) for name, score in connection.execute(read)} == found
