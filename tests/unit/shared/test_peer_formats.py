"""Do files of other annotation tools come back as they went, or are they refused by name?"""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.answers.base import KINDS, Kind
from shared.errors import ConfigurationError
from shared.formats.example import Example, Found, Reading, Unsayable
from shared.formats.peers.conll import tokenised
from shared.formats.peers.registry import PEERS, PeerFormat, written
from shared.formats.rows_in import read_rows
from tests.support.examples import LABELS, examples, visible

FORMATS: tuple[PeerFormat, ...] = get_args(PeerFormat)
PAIRS = [(form, kind) for form in FORMATS for kind in KINDS if kind in PEERS[form].says]
TEXT = "\U0001f600 Peter of ACME"


def file_of(form: PeerFormat, *given: Example) -> bytes:
    return "".join(written(given, form)).encode()


def read(form: PeerFormat, content: bytes, kind: Kind) -> list[Found]:
    return list(PEERS[form].read(content, Reading(kind)))


def the_example(form: PeerFormat, record: Any, kind: Kind) -> Example:
    content = [record] if form == "label-studio" else record
    (found,) = read(form, json.dumps(content).encode(), kind)
    assert found.problem is None, found
    assert found.example is not None
    return found.example


def problem(form: PeerFormat, record: Any, kind: Kind) -> str:
    content = [record] if form == "label-studio" else record
    (found,) = read(form, json.dumps(content).encode(), kind)
    assert found.example is None, found
    return found.problem or ""


@pytest.mark.parametrize(("form", "kind"), PAIRS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back(form: PeerFormat, kind: Kind, data: st.DataObject) -> None:
    # Given items with answers and predictions
    given = data.draw(st.lists(examples(kind), min_size=1, max_size=3))
    # If a format says them all, I expect each of them back, whole
    try:
        content = file_of(form, *given)
    except Unsayable as error:
        # and else the item and the place that it cannot say.
        assert form == "conll"
        assert any(str(error).startswith(f"{each.name}: spans[") for each in given)
        return
    found = read(form, content, kind)
    assert [each.problem for each in found] == [None] * len(given)
    assert [each.example for each in found] == given


@pytest.mark.parametrize("form", FORMATS)
def test_kinds_that_a_format_has_no_words_for_are_refused_by_name(form: PeerFormat) -> None:
    for kind in sorted(set(KINDS) - PEERS[form].says):
        example = Example(kind, {"id": "i1", "text": TEXT}, None, {})
        with pytest.raises(Unsayable, match=f"item 'i1': {form} has no words for a {kind} answer"):
            file_of(form, example)
    if form == "conll":
        return
    label = Example("label", {"id": "i1", "text": TEXT}, None, {"label": "a"})
    spans = Example("spans", {"id": "i2", "text": TEXT}, None, {"spans": []})
    with pytest.raises(Unsayable, match="item 'i2': a spans answer, and the first was of label"):
        file_of(form, label, spans)


def spans_of(*spans: tuple[int, int, str]) -> dict[str, Any]:
    return {"spans": [dict(zip(("start", "end", "label"), s, strict=True)) for s in spans]}


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([(2, 8, "PER")], r"spans\[0\] begins or ends in white space"),
        ([(2, 7, "PER"), (5, 7, "ORG")], r"spans\[1\] overlaps"),
        ([(2, 7, "a b")], r"spans\[0\]: white space parts the columns of conll"),
    ],
)
def test_spans_that_conll_cannot_say_are_refused(
    spans: list[tuple[int, int, str]], reason: str
) -> None:
    example = Example("spans", {"id": "i1", "text": TEXT}, None, spans_of(*spans))
    with pytest.raises(Unsayable, match=f"item 'i1': {reason}"):
        file_of("conll", example)


@given(visible, st.lists(st.integers(0, 60)))
def test_tokens_are_the_text_without_its_white_space(text: str, cuts: list[int]) -> None:
    found = tokenised(text, cuts)
    assert "".join(text[token.start : token.end] for token in found) == "".join(text.split())
    assert all(text[each.start : each.end].split() != [] for each in found)


def test_tokens_are_words_and_single_marks() -> None:
    text = "Rene\u0301's 1,5 \u2764\ufe0f!"
    found = [text[token.start : token.end] for token in tokenised(text)]
    assert found == ["Rene\u0301", "'", "s", "1", ",", "5", "\u2764\ufe0f", "!"]


def region(start: int, end: int, text: str | None = None) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": ["PER"]} | ({"text": text} if text else {})
    return {"from_name": "x", "to_name": "text", "type": "labels", "value": value}


def task(*annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"text": TEXT, **data}, "annotations": list(annotations)}


def test_label_studio_counts_code_points_and_once_counted_utf_16_units() -> None:
    # Given a region behind an emoji, by a release of today, by an old one, and without its text
    wanted = spans_of((2, 7, "PER"))
    for each in (region(2, 7, "Peter"), region(3, 8, "Peter"), region(2, 7)):
        assert the_example("label-studio", task({"result": [each]}), "spans").answer == wanted
    # and one whose text stands elsewhere: I expect no guess.
    moved = problem("label-studio", task({"result": [region(5, 9, "ACME")]}), "spans")
    assert moved == "annotations[0].result[0]: its text is not what stands at its offsets"


def test_label_studio_tasks_of_several_people() -> None:
    choice = {"from_name": "x", "to_name": "text", "type": "choices"}
    one, other = ({"result": [{**choice, "value": {"choices": [label]}}]} for label in ("a", "b"))
    # If they say the same, I expect it; if they differ, nothing, but for a marked truth;
    assert the_example("label-studio", task(one, one), "label").answer == {"label": "a"}
    assert the_example("label-studio", task(one, other), "label").answer is None
    truth = other | {"ground_truth": True}
    assert the_example("label-studio", task(one, truth), "label").answer == {"label": "b"}
    # what was cancelled was not answered.
    cancelled = {"result": [], "was_cancelled": True}
    assert the_example("label-studio", task(cancelled), "labels").answer is None
    assert the_example("label-studio", task({"result": []}), "labels").answer == {"labels": []}
    # Fields of the data that are none of ours are metadata.
    assert the_example("label-studio", task(channel="mail"), "label").item == {
        "text": TEXT,
        "metadata": {"channel": "mail"},
    }


def test_label_studio_forms_with_a_control_for_each_field() -> None:
    number = {"from_name": "total", "type": "number", "value": {"number": 12.5}}
    words = {"from_name": "payee", "type": "textarea", "value": {"text": ["ACME"]}}
    found = the_example("label-studio", task({"result": [number, words]}), "form")
    assert found.answer == {"form": {"total": 12.5, "payee": "ACME"}}


@pytest.mark.parametrize(
    ("form", "kind", "record", "said"),
    [
        ("label-studio", "spans", {"text": "x"}, "data: the object with the item is missing"),
        ("label-studio", "spans", {"data": {"review": "x"}}, "data.text: the text is missing"),
        (
            "label-studio",
            "spans",
            task({"result": [{"type": "relation"}]}),
            "annotations[0].result[0]: 'relation' is no part of a spans answer",
        ),
        ("doccano", "label", {"text": "x", "label": ["a", "b"]}, "label: 2 values where one"),
        ("doccano", "spans", {"text": "x", "label": [[0, 1]]}, "label[0]: must be [start, end, l"),
        ("doccano", "spans", {"text": "x", "relations": [{}]}, "relations: no part of a spans"),
        ("doccano", "label", ["x"], "must be a JSON object"),
        (
            "prodigy",
            "spans",
            {"text": "x", "answer": "accept", "spans": [{"start": 0.5, "end": 1, "label": "a"}]},
            "spans[0].start: must be a whole number",
        ),
        ("prodigy", "label", {"text": "x", "meta": {}, "metadata": {}}, "meta: is there beside"),
        ("prodigy", "label", {"text": "x", "meta": [], "a": 1}, "metadata: must be an object"),
        (
            "prodigy",
            "preference",
            {"text": "x", "answer": "accept", "accept": [0, 1]},
            "accept: must be a list of one option, or none for a tie",
        ),
    ],
)
def test_records_that_say_something_else_are_refused_with_the_place(
    form: PeerFormat, kind: Kind, record: Any, said: str
) -> None:
    assert problem(form, record, kind).startswith(said)


def test_records_as_the_tools_themselves_write_them() -> None:
    entity = {"id": 1, "label": "PER", "start_offset": 2, "end_offset": 7}
    doccano = {"id": 3, "text": TEXT, "Comments": [], "entities": [entity], "relations": []}
    found = the_example("doccano", doccano, "spans")
    assert (found.item, found.answer) == ({"id": "3", "text": TEXT}, spans_of((2, 7, "PER")))
    prodigy = {
        "text": TEXT,
        "meta": {"page": 3},
        "_input_hash": 1,
        "_task_hash": 2,
        "_session_id": "ann",
        "tokens": [{"text": "Peter", "start": 2, "end": 7, "id": 0, "ws": True}],
        "spans": [{"start": 2, "end": 7, "token_start": 1, "token_end": 1, "label": "PER"}],
        "answer": "accept",
    }
    found = the_example("prodigy", prodigy, "spans")
    assert found.item == {"text": TEXT, "metadata": {"page": 3}}
    assert found.answer == spans_of((2, 7, "PER"))
    assert the_example("prodigy", prodigy | {"answer": "reject"}, "spans").answer is None


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["B-PER", "I-PER", "O", "B-ORG"], [(0, 3, "PER"), (6, 7, "ORG")]),
        (["I-PER", "I-PER", "B-PER", "I-ORG"], [(0, 3, "PER"), (4, 5, "PER"), (6, 7, "ORG")]),
        (["B-PER", "E-PER", "S-PER", "S-PER"], [(0, 3, "PER"), (4, 5, "PER"), (6, 7, "PER")]),
        (["B-a", "L-a", "U-a", "O"], [(0, 3, "a"), (4, 5, "a")]),
    ],
)
def test_conll_files_of_others(tags: list[str], spans: list[tuple[int, int, str]]) -> None:
    rows = [f"{word} NN {tag}" for word, tag in zip("wxyz", tags, strict=True)]
    content = "-DOCSTART- -X- O\r\n\r\n" + "\r\n".join(rows) + "\r\n\r\n\r\nnone O\r\n"
    first, second = read("conll", content.encode(), "spans")
    assert first.example == Example("spans", {"text": "w x y z"}, None, spans_of(*spans))
    assert second.example == Example("spans", {"text": "none"}, None, {"spans": []})


def test_lines_that_are_no_conll_are_refused_with_their_token() -> None:
    found = read("conll", b"a O\nb\n\nc D-PER\n\nd O\n", "spans")
    assert [each.problem for each in found] == [
        "token 2: needs a token and its tag",
        "token 1: 'D-PER' is no tag: O, B-LABEL or I-LABEL",
        None,
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_rows_for_a_training_are_told_from_each_other(form: PeerFormat, tmp_path: Path) -> None:
    # Given files of which nobody says what they are: I expect spans as spans,
    file = tmp_path / ("x.conll" if form == "conll" else "x.jsonl")
    item, spans = {"id": "i1", "text": TEXT}, spans_of((2, 7, "PER"))
    file.write_bytes(file_of(form, Example("spans", item, None, spans)))
    assert read_rows(file) == [{**item, "answer": spans}]
    if form == "conll":
        file.write_text("a O\nb\n")
        with pytest.raises(ConfigurationError, match="item 1: token 2: needs a token and its tag"):
            read_rows(file)
        return
    # several labels as such, and one each as a label;
    several = [Example("labels", item, None, {"labels": given}) for given in (["a", "b"], [])]
    file.write_bytes(file_of(form, *several))
    assert read_rows(file) == [{**item, "answer": each.answer} for each in several]
    file.write_bytes(file_of(form, Example("label", item, None, {"label": "a"})))
    assert read_rows(file) == [{**item, "label": "a"}]


def test_labels_of_the_strategies_are_some_that_break_files() -> None:
    assert any(" " in label for label in LABELS)
