"""Does everything leave, exactly, in flat memory, and without a formula in it?"""

import csv
import gc
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pandas as pd
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from services.review_ui.api.export import AT_ONCE
from services.review_ui.reports.export import What
from shared.formats.rows_out import csv_cell
from shared.service.lifecycle import Lifecycle
from tests.support.amqp_client import until
from tests.support.api_client import code_of, program
from tests.support.review_service import (
    Served,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

ROWS = 200_000
SOAK_ROWS = 1_000_000
MAY_GROW_BYTES = 50_000_000


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = TurnedClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


def resident_bytes() -> int:
    """What this process, which serves as well, holds in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096


def many_items(engine: Engine, rows: int = ROWS) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO item (workflow, id, text, metadata, status, progress, status_at,"
                " updated_at, received_at, ai_label, final_label, confidence)"
                " SELECT 'sentiment', 'i' || n, repeat('a film ', 30), '{}', 'AI_ACCEPTED', 20,"
                " now(), now(), now(), 'positive', 'positive', 0.9"
                f" FROM generate_series(1, {rows}) n"
            )
        )


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_two_hundred_thousand_rows_leave_in_flat_memory(
    engine: Engine, served: Served, form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Given many items, and a first export that has loaded what exports need
    rows = SOAK_ROWS if request.config.getoption("--soak") else ROWS
    many_items(engine, rows)
    wanted = {"format": form}
    with program(served, "export") as reader, (tmp_path / "export").open("wb") as file:
        later = {"since": "2100-01-01T00:00:00Z"}
        assert reader.get("/export/items", params=wanted | later).status_code == 200
        gc.collect()
        before = highest = resident_bytes()
        lines = 0
        # If I read them all
        with reader.stream("GET", "/export/items", params=wanted, timeout=300) as answer:
            assert answer.status_code == 200
            for chunk in answer.iter_bytes():
                lines += chunk.count(b"\n")
                file.write(chunk)
                highest = max(highest, resident_bytes())
    # I expect each once, and server and reader together to have grown by little.
    if form == "parquet":
        stored = pq.ParquetFile(tmp_path / "export")
        lines = stored.metadata.num_rows
        assert stored.metadata.num_row_groups > 1
        ids = pq.read_table(tmp_path / "export", columns=["id"])["id"]
        assert len(ids.unique()) == rows
    assert lines == rows
    assert highest - before < MAY_GROW_BYTES


def decide(served: Served, name: str, *answers: dict[str, object]) -> None:
    with served.logged_in(name) as reviewer:
        tasks = reviewer.post("/api/v1/tasks/claim", json={"count": 50}).json()["tasks"]
        by_item = {task["item_id"]: task for task in tasks}
        for answer in answers:
            given = dict(answer)
            task = by_item[str(given.pop("item"))]
            body = {"key": str(uuid4()), "lease_token": task["lease_token"], **given}
            done = reviewer.post(f"/api/v1/tasks/{task['id']}/decision", json=body)
            assert done.status_code == 200, done.text


def test_decisions_and_corrections_leave_as_csv_and_as_json_lines(
    engine: Engine, served: Served
) -> None:
    # Given a correction with a text that a spreadsheet would run, an acceptance, a skip
    hostile = '=HYPERLINK("http://x","y")'
    take_in(
        engine,
        requested("=1+1", text=hostile, metadata={"n": -1}),
        requested("-2", text='plain, with "quotes"\nand two lines'),
        requested("i3"),
    )
    decide(
        served,
        "ada",
        {"item": "=1+1", "action": "correct", "label": "negative", "note": "@SUM(A1)"},
        {"item": "-2", "action": "accept", "note": "+49 30 1234"},
        {"item": "i3", "action": "skip"},
    )
    with program(served, "export") as reader:
        # If I export them as CSV
        answer = reader.get("/export/decisions?format=csv")
        assert answer.headers["content-type"].startswith("text/csv")
        assert 'filename="decisions.csv"' in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        # I expect every decision, and no cell that is a formula
        assert [row["action"] for row in rows] == ["correct", "accept", "skip"]
        assert [row["item_id"] for row in rows] == ["'=1+1", "'-2", "i3"]
        assert [row["note"] for row in rows] == ["'@SUM(A1)", "'+49 30 1234", ""]
        assert rows[0]["ai_label_shown"] == "true"
        # and as JSON Lines the texts as they are.
        (correction,) = map(json.loads, reader.get("/export/corrections").text.splitlines())
        assert correction["text"] == hostile
        assert correction["metadata"] == {"n": -1}
        assert (correction["ai_label"], correction["label"]) == ("positive", "negative")
        csv_text = reader.get("/export/corrections?format=csv").text
        (row,) = csv.DictReader(io.StringIO(csv_text, newline=""))
        assert row["text"] == "'" + hostile
        # A period leaves out what lies outside.
        assert reader.get("/export/decisions?until=2024-05-01T00:00:00Z").text == ""
        assert reader.get("/export/decisions?format=xlsx").status_code == 422


def test_parquet_has_the_rows_of_the_csv_with_types(engine: Engine, served: Served) -> None:
    # Given decisions and items with texts that a spreadsheet would run, objects and nothing at all
    texts = ["=1+1", "ein Film ✓", "two\nlines"]
    take_in(
        engine,
        *[requested(f"i{n}", text=text, metadata={"n": n}) for n, text in enumerate(texts)],
    )
    decide(
        served,
        "ada",
        {"item": "i0", "action": "correct", "label": "negative", "note": "@SUM(A1)"},
        {"item": "i1", "action": "accept"},
        {"item": "i2", "action": "skip"},
    )
    many_items(engine, 3)
    with program(served, "export") as reader:
        for what in get_args(What):
            # If I read both
            answer = reader.get(f"/export/{what}?format=parquet")
            assert answer.headers["content-type"] == "application/vnd.apache.parquet"
            assert f'filename="{what}.parquet"' in answer.headers["content-disposition"]
            table = pq.read_table(io.BytesIO(answer.content))
            lines = reader.get(f"/export/{what}?format=csv").text
            header, *rows = csv.reader(io.StringIO(lines, newline=""))
            # I expect the same columns and rows, written as CSV writes them,
            assert table.column_names == header
            found = [[csv_cell(cell) for cell in row.values()] for row in table.to_pylist()]
            assert found == rows
            assert len(rows) == {"decisions": 3, "corrections": 1, "items": 3}[what]
        # with times, numbers and truths as such, texts exact and objects as JSON,
        kinds = {field.name: str(field.type) for field in table.schema}
        assert kinds["received_at"] == "timestamp[us, tz=UTC]"
        assert (kinds["confidence"], kinds["metadata"]) == ("double", "string")
        content = reader.get("/export/corrections?format=parquet").content
        frame = pd.read_parquet(io.BytesIO(content))
        assert frame["text"].tolist() == ["=1+1"]
        assert json.loads(frame["metadata"][0]) == {"n": 0}
        assert frame["decided_at"][0].tzinfo is not None
        # and where there is nothing, a file with the columns and no row.
        content = reader.get("/export/items?format=parquet&since=2100-01-01T00:00:00Z").content
        nothing = pq.read_table(io.BytesIO(content))
        assert (nothing.num_rows, nothing.schema) == (0, table.schema)


def test_what_is_blind_and_undecided_leaves_without_the_ai(engine: Engine, served: Served) -> None:
    # Given a blind item that waits again because its decision was taken back
    take_in(engine, requested("blind", blind=True))
    with served.logged_in("ada") as ada:
        task = ada.post("/api/v1/tasks/claim", json={}).json()["tasks"][0]
        key = str(uuid4())
        body = {"key": key, "lease_token": task["lease_token"], "action": "correct"}
        done = ada.post(f"/api/v1/tasks/{task['id']}/decision", json=body | {"label": "negative"})
        assert done.status_code == 200, done.text
        assert ada.post(f"/api/v1/decisions/{key}/undo").status_code == 200
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO item (workflow, id, status, progress, status_at, updated_at, ai_label,"
                " confidence) VALUES ('sentiment', 'blind', 'HUMAN_REVIEW', 20, now(), now(),"
                " 'positive', 0.7)"
            )
        )
    with program(served, "export") as reader:
        # I expect no export to tell what the AI thinks of it
        (decision,) = map(json.loads, reader.get("/export/decisions").text.splitlines())
        assert (decision["action"], decision["ai_label"]) == ("label", None)
        assert reader.get("/export/corrections").text == ""
        (item,) = map(json.loads, reader.get("/export/items").text.splitlines())
        assert (item["ai_label"], item["confidence"]) == (None, None)


def test_readers_who_go_away_leave_their_places_to_others(engine: Engine, served: Served) -> None:
    # Given as many exports under way as may be
    many_items(engine)
    with program(served, "export") as reader:
        streams = [reader.stream("GET", "/export/items") for _ in range(AT_ONCE)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        # I expect one more to be told to wait
        busy = reader.get("/export/decisions")
        assert (busy.status_code, code_of(busy)) == (503, "exports_busy")
        # If they go away in the middle, I expect the places to be free soon
        for stream in streams:
            stream.__exit__(None, None, None)
        until(
            lambda: reader.get("/export/decisions").status_code == 200,
            seconds=20,
            what="a place for another export",
        )
