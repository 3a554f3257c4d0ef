"""Do tags of every scheme come to the same spans, and tokens to the words that people read?"""

import pytest

from services.inference.heads.tags import read_tags, runs
from services.inference.heads.words import words_of
from shared.errors import ConfigurationError


def spans(said: str, labels: tuple[str, ...] = ("ORG", "PER")) -> list[tuple[int, int, str]]:
    """Of a line of tags, as the model with just these classes gives it."""
    names = said.split()
    classes = tuple(dict.fromkeys([*names, "O", *(f"B-{label}" for label in labels)]))
    tags = dict(zip(classes, read_tags(classes, labels), strict=True))
    return runs([tags[name] for name in names])


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        ("IOB1", "O I-PER I-PER B-PER O I-ORG I-PER"),
        ("IOB2", "O B-PER I-PER B-PER O B-ORG B-PER"),
        ("IOBES", "O B-PER E-PER S-PER O S-ORG S-PER"),
        ("BILOU", "O B-PER L-PER U-PER O U-ORG U-PER"),
    ],
)
def test_every_scheme_says_the_same(scheme: str, said: str) -> None:
    assert spans(said) == [(1, 3, "PER"), (3, 4, "PER"), (5, 6, "ORG"), (6, 7, "PER")], scheme


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("S-PER S-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("B-PER E-PER E-PER", [(0, 2, "PER"), (2, 3, "PER")]),
        ("E-PER I-PER", [(0, 1, "PER"), (1, 2, "PER")]),
        ("I-ORG", [(0, 1, "ORG")]),
        ("O O", []),
        ("", []),
    ],
)
def test_what_a_scheme_does_not_allow_still_makes_spans(
    said: str, found: list[tuple[int, int, str]]
) -> None:
    assert spans(said) == found


def test_plain_tags_run_on_and_a_label_may_look_like_a_prefix() -> None:
    tags = read_tags(("O", "E-mail", "name", "o"), ("name", "E-Mail"))
    assert [tag.label for tag in tags] == [None, "E-Mail", "name", None]
    assert runs([tags[1], tags[1], tags[2], tags[0], tags[2]]) == [
        (0, 2, "E-Mail"),
        (2, 3, "name"),
        (4, 5, "name"),
    ]


def test_labels_that_the_model_does_not_tag_are_refused() -> None:
    for labels in (("PER",), ("PER", "ORG", "LOC"), ("LABEL_0",)):
        with pytest.raises(ConfigurationError, match="the model tags PER, ORG"):
            read_tags(("O", "B-PER", "I-PER", "B-ORG"), labels)


def test_words_end_at_marks_emoji_and_scripts_without_spaces() -> None:
    text = "in Paris, no-one\U0001f600paid 20€ 北京"
    offsets = [(0, 2), (2, 5), (5, 8), (8, 9), (9, 12), (12, 13), (13, 16), (16, 17), (16, 17),
               (17, 21), (21, 24), (24, 25), (25, 27), (27, 28)]  # fmt: skip
    found = [text[start:end] for _, start, end in words_of(text, offsets)]
    assert found == ["in", "Paris", ",", "no", "-", "one", "\U0001f600", "paid", "20€", "北", "京"]
    assert [first for first, _, _ in words_of(text, offsets)][:4] == [0, 1, 3, 4]


def test_a_blank_is_no_word_and_pieces_are_believed() -> None:
    assert words_of(" a ", [(0, 1), (0, 2), (2, 3)]) == [(1, 1, 2)]
    assert words_of("a.b", [(0, 1), (1, 2), (2, 3)], [False, True, False]) == [
        (0, 0, 2),
        (2, 2, 3),
    ]
