"""Does the report find what people really correct, and is it not taken in by small numbers?"""

import random

from services.feedback.reports.disagreements import MAX_VALUES, Reviewed, disagreements


def item(
    *,
    wrong: bool,
    text: str | None = "a film",
    confidence: float = 0.7,
    panel: bool = False,
    **meta: object,
) -> Reviewed:
    label = "negative" if wrong else "positive"
    return Reviewed(text, meta, "positive", confidence, label, panel)


def test_a_source_with_many_corrections_comes_before_one_with_three_of_three() -> None:
    # Given a shop with 90 corrections of 100, one with 5 of 5 and one with 10 of 100
    items = [item(wrong=n < 90, source="big") for n in range(100)]
    items += [item(wrong=True, source="small") for _ in range(5)]
    items += [item(wrong=n < 10, source="good") for n in range(100)]
    # I expect the large one first: of the small one little is known
    groups = disagreements(items).sources["source"]
    assert [group.name for group in groups] == ["big", "small", "good"]
    assert groups[0].rate.rate == 0.9 and groups[1].rate.low < 0.6


def test_the_word_that_misleads_the_model_is_found() -> None:
    # Given texts of common words, in which one word goes with corrections
    chance = random.Random(1)
    common = ["the", "a", "film", "of", "and", "it", "is", "was", "plot", "scene", "story"]
    items = []
    for n in range(400):
        wrong = n % 4 == 0
        words = chance.choices(common, k=12) + (["hardly"] if wrong and n % 8 == 0 else [])
        items.append(item(wrong=wrong, text=" ".join(words)))
    # I expect it first, clearly beyond chance, and with its own counts
    first, *others = disagreements(items).words
    assert (first.word, first.items, first.corrected) == ("hardly", 50, 50)
    assert first.z > 3
    assert all(other.z < 3 for other in others)


def test_an_id_is_no_source() -> None:
    # Given a metadata key with a value of its own in each item
    items = [item(wrong=False, order=f"order-{n}", channel="mail") for n in range(MAX_VALUES + 5)]
    # I expect groups only of the other key
    assert set(disagreements(items).sources) == {"channel"}


def test_labels_lengths_and_confidences_have_their_own_rates() -> None:
    # Given three of four long unsure texts corrected and none of the short sure ones
    items = [item(wrong=n < 3, text="word " * 100, confidence=0.52) for n in range(4)]
    items += [item(wrong=False, text="short", confidence=1.0) for _ in range(6)]
    found = disagreements(items)
    # I expect each group's own counts
    assert [(g.name, g.items, g.corrected) for g in found.labels] == [
        ("positive \u2192 negative", 10, 3)
    ]
    assert [(g.name, g.corrected) for g in found.lengths] == [
        ("up to 10 words", 0),
        ("over 60", 3),
    ]
    assert [(g.name, g.corrected) for g in found.confidences] == [
        ("0.50 to 0.55", 3),
        ("0.95 to 1.00", 0),
    ]


def test_the_panel_is_counted_apart() -> None:
    # Given unsure items that people correct, and a random panel where the AI is mostly right
    items = [item(wrong=True) for _ in range(20)]
    items += [item(wrong=n == 0, panel=True) for n in range(20)]
    found = disagreements(items)
    # I expect the rate of the whole stream from the panel alone
    assert found.panel is not None and (found.panel.items, found.panel.corrected) == (20, 1)
    assert (found.items, found.corrected) == (40, 21)


def test_nothing_makes_an_empty_report() -> None:
    found = disagreements([])
    assert (found.items, found.rate, found.panel) == (0, None, None)
    assert not found.words and not found.labels and not found.sources


def test_texts_of_one_word_have_no_misleading_word() -> None:
    items = [item(wrong=n < 5, text="word word") for n in range(10)]
    assert disagreements(items).words == []
