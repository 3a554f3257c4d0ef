"""Do files of JSON Lines outlive odd texts and writers that died in the middle of a line?"""

import json
from pathlib import Path

import pytest

from hitl.commands.audit import read_anchors
from services.feedback.registry.versions import Registry
from services.inference import proving
from services.review_ui.tasks import gold
from shared.errors import ConfigurationError, HitlError
from shared.formats.json_lines import (
    append,
    appending,
    is_torn,
    line,
    lines_of,
    numbered,
    whole_lines,
)
from shared.formats.rows_in import read_rows
from shared.formats.rows_out import json_lines
from shared.workflows.files import Workflow
from tests.support.model_versions import NOW, receipt_of

# All that `str.splitlines` takes for the end of a line, but for the one that ends ours.
ODD = "one\x0btwo\x0cthree\x1cfour\x1dfive\x1esix\x85seven\u2028eight\u2029nine\rten"


def raw(record: object) -> bytes:
    """A line as another program writes it: nothing is escaped that need not be."""
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def test_what_we_write_is_one_line_for_every_reader_and_says_the_same() -> None:
    for written in (line({"text": ODD}), json_lines(["text"], [[ODD]]).decode()):
        assert len(written.splitlines()) == 1
        assert json.loads(written) == {"text": ODD}


def test_each_beginning_of_a_record_is_told_from_a_whole_one_and_from_no_record() -> None:
    # Given a record that was cut off at any byte, also within a letter
    whole = raw({"at": "2026-01-01", "n": -1.5e3, "yes": True, "none": None, "é\u2028": [1, {}]})
    whole = whole.strip()
    assert all(is_torn(whole[:end]) for end in range(1, len(whole)))
    # I expect nothing else to be taken for one
    for other in (whole, b"{}", b'{"a" 1', b"text", b'"text', b"12"):
        assert not is_torn(other)


def test_a_record_that_follows_a_torn_one_begins_on_a_line_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "records.jsonl"
    append(file, {"n": 1})
    with file.open("a") as torn:
        torn.write('{"n": 2, "why": "the disk was fu')
    append(file, {"n": 3})
    with appending(file) as more:
        more.write(line({"n": 4}))
    # I expect all but the torn one, with their numbers, and that one to be said
    found = list(whole_lines(lines_of(file.read_bytes()), "records.jsonl"))
    assert [(number, json.loads(content)) for number, content in found] == [
        (1, {"n": 1}),
        (3, {"n": 3}),
        (4, {"n": 4}),
    ]
    assert "records.jsonl, line 2: skipped" in caplog.text


def test_a_model_can_be_rolled_back_whatever_the_reason_said_and_however_the_file_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a promotion whose reason has line separators in it, as an older release wrote them
    registry = Registry(tmp_path, "sentiment")
    for version in ("v1", "v2"):
        with registry.staging() as staged:
            (staged / version).mkdir()
            registry.register(staged / version, receipt_of(version, f"m@{version}"), "a test")
    registry.promote("v1", by="grace", at=NOW)
    registry.promote("v2", by="grace", at=NOW, forced=ODD)
    history = registry.folder / "history.jsonl"
    told = [json.loads(each) for each in history.read_bytes().split(b"\n") if each]
    history.write_bytes(b"".join(map(raw, told)))
    # and a line that was never finished, and one that is no change at all
    with history.open("ab") as file:
        file.write(b'{"at": "2026-01-01T00:00:00Z", "by": "gra')
    assert [change.forced for change in registry.history()] == [None, None, None, ODD]
    assert "line 5: skipped" in caplog.text
    # I expect the way back, and what is written then to be read, too.
    assert registry.rollback(by="grace", at=NOW).version == "v1"
    with history.open("ab") as file:
        file.write(b'{"at": "2026-01-01{"at": "2026"}\n')
    assert registry.rollback(by="grace", at=NOW).version == "base"
    assert [change.action for change in registry.history()][-2:] == ["rolled back", "rolled back"]
    assert "line 7: unreadable model change" in caplog.text


def test_texts_rows_and_known_items_are_read_at_line_feeds_only(tmp_path: Path) -> None:
    # Given files of other programs, from Windows or not, that end in the middle of a line
    plain = ODD.replace("\r", " ")
    torn = b'{"text": "half'
    jsonl, txt = tmp_path / "some.jsonl", tmp_path / "some.txt"
    both = [{"text": ODD, "label": "no"}, {"text": "b", "label": "yes"}]
    jsonl.write_bytes(
        b"\xef\xbb\xbf" + b"\r\n".join(raw(each).strip() for each in both) + b"\n" + torn
    )
    txt.write_bytes(f"{plain}\nb\n".encode())
    # I expect each reader to find two texts
    assert proving._read(jsonl) == [ODD, "b"]
    assert proving._read(txt) == [plain, "b"]
    assert read_rows(jsonl) == both
    known = raw({"id": "1", "text": ODD, "label": "no"}) + raw(
        {"id": "2", "text": "b", "label": "no"}
    )
    found = gold.read(numbered(lines_of(known)), Workflow(name="sentiment"))
    assert [each.text for each in found] == [ODD, "b"]
    # and what is no JSON at all to be refused as before.
    jsonl.write_bytes(raw(both[0]) + b'{"text" 1}\n')
    with pytest.raises(ConfigurationError):
        read_rows(jsonl)


def test_anchors_after_a_torn_one_still_count(tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    append(file, {"height": 1, "block_hash": "aa", "note": ODD})
    with file.open("a") as torn:
        torn.write('{"height": 2, "block_')
    append(file, {"height": 3, "block_hash": "bb"})
    assert read_anchors(file) == {1: b"\xaa", 3: b"\xbb"}
    # A line that never was the beginning of an anchor says that the file is another.
    with file.open("a") as other:
        other.write("height 4\n")
    with pytest.raises(HitlError, match="line 4: no anchor"):
        read_anchors(file)
