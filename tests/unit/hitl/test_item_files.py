"""Is a file of items read as what it says, in every format, or refused with its line?"""

import csv
import io
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hitl.support.item_files import Format, Line, Wanted, read_folder, read_lines
from shared.answers.base import AnswerSpec
from shared.errors import ConfigurationError
from shared.formats.rows_in import read_rows


def read(
    content: bytes, kind: Format = "csv", text_column: str = "text", id_column: str = "id"
) -> list[Line]:
    wanted = Wanted(text_column=text_column, id_column=id_column)
    return list(read_lines(BytesIO(content), kind, wanted))


def items(content: bytes, kind: Format = "csv", **columns: str) -> list[Any]:
    return [json.loads(line.body) for line in read(content, kind, **columns)]


def refusal(content: bytes) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(content)
    return str(refused.value)


@pytest.mark.parametrize("at", [2, 50, 101])
def test_an_unclosed_quote_swallows_no_rows(at: int) -> None:
    # Given a hundred rows, some with quoted texts, one of which begins with a quote by mistake
    rows = [f'{n},"a text, {n}"\n' if n % 2 else f"{n},text {n}\n" for n in range(1, 101)]
    rows[at - 2] = f'{at - 1},"never closed {at}\n'
    # I expect the file to be refused, at the line where the quote opens
    said = refusal(("id,text\n" + "".join(rows)).encode())
    assert said.startswith(f"line {at}: a quote opens here")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label,text\nx,a,y\n", "line 1: 1 columns are named twice: text"),
        (b"text, text\nx,y\n", "line 1: 1 columns are named twice: text"),
        (b'text\n"a" really\n', "line 2: ',' expected after '\"'"),
        (b"\xff\xfet\x00e\x00x\x00t\x00\n\x00", "line 1: this is UTF-16: save it as UTF-8"),
        (b"text\ra\rb\r", "line 1: new-line character seen in unquoted field"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(content: bytes, said: str) -> None:
    assert refusal(content).startswith(said)


def test_a_row_that_is_wrong_alone_is_named_and_the_others_are_read() -> None:
    content = (
        b'\xef\xbb\xbf"text","label"\nfine,a\nfine,really,a\nfine\nwith a \x00,a\n"two\nlines",a\n'
    )
    found = read(content)
    assert [(line.number, line.problem) for line in found] == [
        (2, None),
        (3, "3 cells where the header has 2"),
        (4, "1 cells where the header has 2"),
        (5, "a NUL character, which no text may hold"),
        (7, None),
    ]
    assert json.loads(found[-1].body)["text"] == "two\nlines"


def test_what_is_no_text_and_no_id_is_metadata_in_every_format() -> None:
    # Given the same items as CSV and as JSON Lines, with a field of another tool
    of_csv = items(b"nr,body,channel\n1,fine,mail\n", text_column="body", id_column="nr")
    lines = b'{"nr": "1", "body": "fine", "channel": "mail"}\n'
    of_json = items(lines, "jsonl", text_column="body", id_column="nr")
    # I expect the same of both
    wanted = {"id": "1", "text": "fine", "metadata": {"channel": "mail"}}
    assert of_csv == of_json == [wanted]
    # and the field to stand beside those of the line's own metadata, and to be told
    (line,) = read(b'{"text": "x", "meta": {"page": 3}, "metadata": {"n": 1}}\n', "jsonl")
    assert json.loads(line.body)["metadata"] == {"n": 1, "meta": {"page": 3}}
    assert line.others == ("meta",)


def test_what_a_typed_item_brings_stays_beside_its_text(tmp_path: Path) -> None:
    # Given a preference with a prediction, as rows of every sort, with a field of another tool
    prediction = {"answer": {"preferred": 1}, "confidence": 0.75, "model_version": "theirs@1"}
    row = {"id": "1", "text": "x", "candidates": ["a", "=b"], "prediction": prediction}
    wanted = Wanted(AnswerSpec("preference", predictions=True))
    objects = {"candidates", "prediction"}
    cells = [json.dumps(row[name]) if name in objects else row[name] for name in row]
    table = io.StringIO()
    csv.writer(table).writerows([[*row, "channel"], [*cells, "mail"]])
    pq.write_table(pa.Table.from_pylist([row | {"channel": "mail"}]), tmp_path / "x.parquet")
    content = json.dumps(row | {"channel": "mail"}).encode()
    # I expect the item as a producer sends it, in all of them
    for (line,) in (
        list(read_lines([content], "jsonl", wanted)),
        list(read_lines(BytesIO(table.getvalue().encode()), "csv", wanted)),
        list(read_folder(tmp_path / "x.parquet", wanted)),
    ):
        assert json.loads(line.body) == row | {"metadata": {"channel": "mail"}}
    # and a cell that is no JSON to be refused by its line.
    (bad,) = read_lines([b"text,candidates\n", b"x,a or b\n"], "csv", wanted)
    assert bad.problem is not None and bad.problem.startswith("candidates, action, prediction: no")
    # To a workflow of labels these are fields like any other.
    assert items(content, "jsonl")[0]["metadata"].keys() == {"candidates", "prediction", "channel"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"text": "a", "text": "b"}', "'text' is named more than once"),
        (b'{"text": "a", "metadata": {"n": 1, "n": 2}}', "'n' is named more than once"),
        (b'{"text": "a", "n": 1, "metadata": {"n": 2}}', "n: both in the line and in its metadata"),
    ],
)
def test_a_field_that_is_there_twice_is_no_item(line: bytes, problem: str) -> None:
    (found,) = read(line, "jsonl")
    assert found.problem is not None
    assert found.problem.startswith(problem)


def test_what_json_lines_say_of_numbers_stays(tmp_path: Path) -> None:
    line = b'{"text": "x", "n": 9007199254740993, "half an emoji": "\\ud83d"}'
    (item,) = items(line, "jsonl")
    assert item["metadata"] == {"n": 9007199254740993, "half an emoji": "\ud83d"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b'text,label\n"never closed,a\nx,b\n', "line 2: a quote opens here"),
        ("a.csv", b"text,label\nfine, really,a\n", "line 2: 3 cells where the header has 2"),
        ("a.csv", b"text,text\nx,b\n", "named twice: text"),
        (
            "a.jsonl",
            b'{"text": "a", "label": "x", "label": "y"}\n',
            "'label' is named more than once",
        ),
    ],
)
def test_labelled_texts_are_read_as_strictly(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=said):
        read_rows(tmp_path / name)
