"""Do labelled words become an address with the spans that people meant?"""

from xml.etree import ElementTree

from benchmarks.addresses import divided, labelled
from services.feedback.training.examples import LabelledText
from shared.answers.spans import SpansAnswer


def said(row: str) -> tuple[str, list[tuple[str, str]]]:
    found = labelled(ElementTree.fromstring(f"<AddressString>{row}</AddressString>"))  # noqa: S314
    assert isinstance(found.answer, SpansAnswer)
    return found.text, [(found.text[s.start : s.end], s.label) for s in found.answer.spans]


def test_words_that_are_labelled_alike_are_one_span_without_the_comma_behind() -> None:
    assert said(
        "<Number>7</Number> <Place>Big</Place>\n <Place>Sky,</Place> <State>MT</State>"
    ) == (
        "7 Big Sky, MT",
        [("7", "Number"), ("Big Sky", "Place"), ("MT", "State")],
    )
    assert said("<Street>Road</Street># <Unit>1</Unit>, <Place>Kenai</Place>") == (
        "Road# 1, Kenai",
        [("Road", "Street"), ("1", "Unit"), ("Kenai", "Place")],
    )


def test_neighbours_are_on_one_side_and_no_address_is_on_both() -> None:
    # Given addresses, each written twice, far apart
    texts = [LabelledText(f"{n % 500} Main St", SpansAnswer(spans=())) for n in range(1_000)]
    found = divided(texts)
    stream, held_out = ([int(each.text.split()[0]) for each in part] for part in found)
    # I expect each once, in runs of twenty, about three tenths of them held out
    assert sorted([*stream, *held_out]) == list(range(500))
    assert not {n // 20 for n in stream} & {n // 20 for n in held_out}
    assert 0.15 < len(held_out) / 500 < 0.45
