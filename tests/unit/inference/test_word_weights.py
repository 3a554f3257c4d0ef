"""Is every word of a text found, whatever its script, and weighed by what its absence changes?"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.highlights import MAX_WORDS, Span, weights, without, words
from services.review_ui.tasks.highlights import pieces


def found(text: str) -> list[str]:
    """The words as texts."""
    spans = words(text)
    assert spans is not None
    return [text[start:end] for start, end in spans]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("... !!", []),
        ("wow", ["wow"]),
        ("I don't like so-called “art”!", ["I", "don't", "like", "so-called", "art"]),
        ("I don\u2019t", ["I", "don\u2019t"]),
        ("good, good, good", ["good", "good", "good"]),
        ("e\u0301tude na\u00efve", ["e\u0301tude", "na\u00efve"]),
        (
            "Great 👍🏽👩\u200d👩\u200d👧 🇩🇪 :-)",
            ["Great", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪", ":-)"],
        ),
        ("סרט טוב מאוד!", ["סרט", "טוב", "מאוד"]),
        ("فيلم جيد", ["فيلم", "جيد"]),
        ("很好的film", ["很", "好", "的", "film"]),
        ("<b>bold</b>\n\ttext", ["b", "bold", "b", "text"]),
    ],
)
def test_words_are_what_a_reader_would_call_so(text: str, expected: list[str]) -> None:
    assert found(text) == expected


def test_a_text_is_weighed_whole_or_not_at_all() -> None:
    # Given texts at the limits, I expect all their words, and beyond them none
    assert len(found("a " * MAX_WORDS)) == MAX_WORDS
    assert words("a " * (MAX_WORDS + 1)) is None
    assert words("a" * 1_000) == [Span(0, 1_000)]
    assert words("a" * 1_001) is None


@given(st.text(max_size=200))
def test_places_are_in_order_and_the_pieces_are_the_text(text: str) -> None:
    # Given any text at all, I expect its words side by side, none empty, and nothing lost
    spans = words(text) or []
    ends = [0, *(span.end for span in spans)]
    assert all(end <= start < stop for end, (start, stop) in zip(ends, spans, strict=False))
    cut = pieces(text, [{"start": a, "end": b, "weight": 1.0} for a, b in spans])
    assert cut is not None
    assert "".join(piece.text for piece in cut) == text
    assert [piece.text for piece in cut if piece.weight is not None] == [
        text[a:b] for a, b in spans
    ]


def test_a_word_goes_with_its_space() -> None:
    text = "a good film, really"
    assert [without(text, span) for span in words(text) or []] == [
        "good film, really",
        "a film, really",
        "a good , really",
        "a good film, ",
    ]
    assert without("alone", Span(0, 5)) == ""


def test_a_weight_is_what_the_label_loses() -> None:
    # Given the label's probability with all words, and without each of three
    for_it, against_it, idle = weights(0.8, [0.5, 0.9, 0.8])
    # I expect the change of its log-odds
    assert for_it == pytest.approx(math.log(4), abs=1e-4)
    assert against_it < 0
    assert idle == 0
    # and a finite one where the model is certain
    assert all(map(math.isfinite, weights(1.0, [0.0])))


@pytest.mark.parametrize(
    "words",
    [
        [{"start": 3, "end": 2, "weight": 1.0}],
        [{"start": 0, "end": 9, "weight": 1.0}],
        [{"start": 2, "end": 3, "weight": 1.0}, {"start": 0, "end": 1, "weight": 1.0}],
    ],
)
def test_places_of_another_text_are_not_shown(words: list[dict[str, float]]) -> None:
    assert pieces("four", words) is None
