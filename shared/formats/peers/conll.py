r"""CoNLL: a token a line and its IOB2 tag in the last column, a blank line behind each item.

Of the four columns, as in the files of CoNLL-2003, readers take the first and the last. The second
is the white space before the token (`_`: one space, `-`: none, else JSON), the third the item
without its text, as JSON, in its first line (`_` in the others): so a file of ours is read back
exactly. A file with other columns is tokens with a space between.

Tokens are words and single marks, cut where a span begins or ends: no span is ever moved.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import NamedTuple

from shared.answers.base import Kind
from shared.formats.example import ITEM_FIELDS, Example, Found, Json, Reading, Unreadable, Unsayable
from shared.formats.strict_json import refuse_unclear

SAYS: frozenset[Kind] = frozenset({"spans"})
RECORD = "item"
OUTSIDE = "O"
_SPACE, _NONE = "_", "-"
_DOCUMENT = "-DOCSTART-"
_JOINER = "\u200d"  # of emoji
_BEGINS, _GOES_ON = frozenset("BSU"), frozenset("IEL")
_ENDS = frozenset("ESUL")


class Token(NamedTuple):
    """`text[start:end]`."""

    start: int
    end: int


def write(examples: Iterable[Example]) -> Iterator[str]:
    """The file, an item a piece."""
    for example in examples:
        text, spans = example.item["text"], _flat(example)
        tokens = tokenised(
            text, [place for each in spans for place in (each["start"], each["end"])]
        )
        tags = dict(zip(tokens, _tags(tokens, spans, example), strict=True))
        about: Json = {name: value for name, value in example.item.items() if name != "text"}
        if example.prediction is not None:
            about["prediction"] = example.prediction
        if after := text[tokens[-1].end :]:
            about["after"] = after
        lines, place, note = [], 0, _json(about)
        for token in tokens:
            before = text[place : token.start]
            gap = {" ": _SPACE, "": _NONE}.get(before) or _json(before)
            lines.append(f"{text[token.start : token.end]} {gap} {note} {tags[token]}\n")
            place, note = token.end, _SPACE
        yield "".join(lines) + "\n"


def tokenised(text: str, cuts: Iterable[int] = ()) -> list[Token]:
    """The words and marks of a text, cut at these places, too."""
    wanted = set(cuts)
    found = []
    for run in re.finditer(r"\S+", text):
        start, end = run.span()
        inner = [at for at in range(start + 1, end) if at in wanted or not _joined(text, at)]
        found += [Token(*ends) for ends in pairwise((start, *inner, end))]
    return found


def _joined(text: str, place: int) -> bool:
    """Whether the characters before and behind this place are of one word, or of one mark."""
    before, behind = text[place - 1], text[place]
    if _is_mark(behind) or _JOINER in (before, behind):
        return True
    return _is_word(before) and _is_word(behind)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_" or _is_mark(character)


def _is_mark(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character).startswith("M")


def read(content: bytes, reading: Reading) -> Iterator[Found]:
    """The items of a file. Other schemes than IOB2 are read as well: IOB1, IOBES, BILOU."""
    lines = [line.rstrip(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    number = 0
    for blank, group in groupby(lines, lambda line: not line.strip()):
        if blank:
            continue
        rows = [line for line in group if not line.startswith(_DOCUMENT.encode())]
        if not rows:
            continue
        number += 1
        try:
            yield Found(number, _example([line.decode().split() for line in rows]))
        except UnicodeDecodeError:
            yield Found(number, None, "is not UTF-8")
        except Unreadable as error:
            yield Found(number, None, str(error))


def _flat(example: Example) -> list[Json]:
    """The spans of an example, as far as one tag a token says them all."""
    if example.answer is None:
        raise Unsayable(f"{example.name}: has no answer, and every token of conll has a tag")
    text, spans = example.item["text"], example.answer["spans"]
    if not text.strip():
        raise Unsayable(f"{example.name}: its text has no token")
    for place, each in enumerate(spans):
        within = text[each["start"] : each["end"]]
        if within != within.strip():
            raise Unsayable(
                f"{example.name}: spans[{place}] begins or ends in white space, which stands "
                "between the tokens of conll"
            )
        if each["label"].split() != [each["label"]]:
            raise Unsayable(
                f"{example.name}: spans[{place}]: white space parts the columns of conll, and the "
                f"label {each['label']!r} has some"
            )
        if place and each["start"] < spans[place - 1]["end"]:
            raise Unsayable(f"{example.name}: spans[{place}] overlaps another: conll has one tag")
    return list(spans)


def _tags(tokens: list[Token], spans: list[Json], example: Example) -> Iterator[str]:
    for token in tokens:
        span = next((s for s in spans if s["start"] <= token.start and token.end <= s["end"]), None)
        if span is None:
            yield OUTSIDE
        else:
            yield f"{'B' if span['start'] == token.start else 'I'}-{span['label']}"


def _json(value: object) -> str:
    r"""Without white space, which parts columns: within strings it is escaped."""
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub(r"\s", lambda blank: f"\\u{ord(blank[0]):04x}", written)


def _example(rows: list[list[str]]) -> Example:
    about = _about(rows)
    text, places = "", []
    for number, row in enumerate(rows):
        if len(row) < 2:
            raise Unreadable(f"token {number + 1}: needs a token and its tag")
        if about is not None and len(row) != 4:
            raise Unreadable(f"token {number + 1}: needs four columns, as the first has")
        before = _gap(row[1], number) if about is not None else " " if number else ""
        places.append(Token(len(text) + len(before), len(text) + len(before) + len(row[0])))
        text += before + row[0]
    answer = {"spans": _spans([row[-1] for row in rows], places)}
    if about is None:
        return Example("spans", {"text": text}, None, answer)
    after, prediction = about.pop("after", ""), about.pop("prediction", None)
    return Example("spans", {"text": text + after, **about}, prediction, answer)


def _about(rows: list[list[str]]) -> Json | None:
    """What the first line says of the item; None in files of others."""
    if len(rows[0]) != 4 or not rows[0][2].startswith("{"):
        return None
    try:
        refuse_unclear(rows[0][2].encode())
        about: Json = json.loads(rows[0][2])
    except ValueError as error:
        raise Unreadable(f"token 1: its third column is no JSON: {error}") from None
    unknown = about.keys() - {*ITEM_FIELDS, "after", "prediction"}
    if unknown or not isinstance(about.get("after", ""), str):
        raise Unreadable(f"token 1: its third column has {', '.join(sorted(unknown)) or 'after'}")
    return about


def _gap(column: str, number: int) -> str:
    if column in (_SPACE, _NONE):
        return " " if column == _SPACE else ""
    try:
        found = json.loads(column)
    except ValueError:
        found = None
    if not isinstance(found, str):
        raise Unreadable(f"token {number + 1}: its second column must be the white space before it")
    return found


def _spans(tags: list[str], places: list[Token]) -> list[Json]:
    spans: list[Json] = []
    open_label: str | None = None
    for number, (tag, place) in enumerate(zip(tags, places, strict=True)):
        if tag == OUTSIDE:
            open_label = None
            continue
        mark, dash, label = tag.partition("-")
        if not dash or not label or mark not in _BEGINS | _GOES_ON:
            raise Unreadable(f"token {number + 1}: {tag[:40]!r} is no tag: O, B-LABEL or I-LABEL")
        if mark in _BEGINS or label != open_label:
            spans.append({"start": place.start, "end": place.end, "label": label})
        else:
            spans[-1]["end"] = place.end
        open_label = None if mark in _ENDS else label
    return spans
