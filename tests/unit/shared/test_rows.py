"""Can what we write be read back, each value as it was?"""

import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pyarrow.parquet as pq
from hypothesis import example, given
from hypothesis import strategies as st

from shared.formats.rows_out import Format, csv_cell, csv_text, written

WHOLE = datetime(2024, 5, 1, 12, tzinfo=UTC)
TIMES = [WHOLE, WHOLE + timedelta(microseconds=1), WHOLE + timedelta(milliseconds=120)]
TIME: dict[str, type] = {"decided_at": datetime}
LABELLED: dict[str, type] = {"label": str, "confidence": float}
NAMES = ["NA", "None", "null", "007", "1e5", "true", "nan", " x ", "-1", "'=1", "#N/A", ""]


def file_of(columns: dict[str, type], rows: list[tuple[object, ...]], form: Format) -> bytes:
    return b"".join(written(columns, [rows], form))


def test_times_with_and_without_a_fraction_are_one_column_of_times() -> None:
    # Given times of which some are whole seconds
    rows: list[tuple[object, ...]] = [(time,) for time in TIMES]
    # If pandas reads them, I expect times, and the same ones
    table = pd.read_csv(io.BytesIO(file_of(TIME, rows, "csv")), parse_dates=["decided_at"])
    assert list(table["decided_at"]) == TIMES
    lines = file_of(TIME, rows, "jsonl").splitlines()
    found = pd.to_datetime([json.loads(line)["decided_at"] for line in lines])
    assert list(found) == TIMES
    # and text of one length, so that it sorts as the times do
    assert len({len(line) for line in lines}) == 1
    # in UTC, whatever zone the database was asked in.
    there = WHOLE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert csv_cell(there) == csv_cell(WHOLE) == "2024-05-01T12:00:00.000000+00:00"


@given(st.text(max_size=40))
@example("=1+1")
@example("'=1+1")
@example("''=1+1")
@example("'quoted'")
@example("'")
@example("-1")
def test_a_disarmed_text_is_known_from_one_that_looks_so(told: str) -> None:
    # I expect every text back, and none that a spreadsheet would run
    cell = csv_cell(told)
    assert csv_text(cell) == told
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


def test_names_that_look_like_something_else_come_back_as_they_were() -> None:
    # Given labels that a reader would take for missing values, numbers or truths
    rows: list[tuple[object, ...]] = [(name, 0.1 + 0.2) for name in NAMES]
    # If I read them with pandas as documented, I expect the names and the very numbers
    table = pd.read_csv(
        io.BytesIO(file_of(LABELLED, rows, "csv")),
        dtype={"label": str},
        keep_default_na=False,
        na_values={"confidence": [""]},
        float_precision="round_trip",
    )
    assert [csv_text(cell) for cell in table["label"]] == NAMES
    assert set(table["confidence"]) == {0.1 + 0.2}
    # and by the csv module, from JSON and from Parquet.
    content = file_of(LABELLED, rows, "csv").decode()
    assert [csv_text(row["label"]) for row in csv.DictReader(io.StringIO(content))] == NAMES
    lines = file_of(LABELLED, rows, "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"label": name, "confidence": 0.1 + 0.2} for name in NAMES
    ]
    stored = pq.read_table(io.BytesIO(file_of(LABELLED, rows, "parquet")))
    assert stored.to_pydict() == {"label": NAMES, "confidence": [0.1 + 0.2] * len(NAMES)}
