"""Does each item get as many opinions as it needs, and no more?"""

from hypothesis import given
from hypothesis import strategies as st

from services.review_ui.tasks.rounds import Answer, Final, after, drawn

LABELS = st.sampled_from(["negative", "neutral", "positive"])


def test_an_answer_that_nobody_checks_is_final() -> None:
    assert after([Answer("first", "positive")]) == Final("positive")


def test_a_drawn_item_gets_a_second_answer_whatever_the_first() -> None:
    assert after([Answer("first", "positive")], drawn=True) == "second"


def test_a_blind_answer_unlike_the_ais_is_checked_and_one_like_it_is_not() -> None:
    assert after([Answer("first", "negative")], unlike_ai="positive") == "second"
    assert after([Answer("first", "positive")], unlike_ai="positive") == Final("positive")


@given(LABELS, LABELS)
def test_two_who_agree_are_final_and_two_who_do_not_are_settled_by_a_third(
    one: str, other: str
) -> None:
    answers = [Answer("first", one), Answer("second", other)]
    expected = Final(one) if one == other else "adjudication"
    assert after(answers, drawn=True) == expected


@given(LABELS, LABELS, LABELS, st.booleans(), st.one_of(st.none(), LABELS))
def test_every_item_is_final_after_three_answers_at_most(
    one: str, two: str, three: str, is_drawn: bool, ai: str | None
) -> None:
    # Given any answers; if they are asked for one after another
    answers: list[Answer] = []
    outcome: object = "first"
    for label in (one, two, three):
        answers.append(Answer(outcome, label))  # type: ignore[arg-type]  # a round so far
        outcome = after(answers, drawn=is_drawn, unlike_ai=ai)
        if isinstance(outcome, Final):
            break
    # I expect an end, and the label to be the last one given
    assert outcome == Final(answers[-1].label)
    # and no second person where nothing asked for one
    if not is_drawn and ai in (None, one):
        assert len(answers) == 1


def test_no_answer_has_no_outcome() -> None:
    for answers in ([], [Answer("second", "positive")]):
        try:
            after(answers)
        except ValueError:
            continue
        raise AssertionError("an outcome out of nothing")


def test_the_draw_takes_the_share_that_was_asked_for_and_always_the_same_items() -> None:
    # Given 20 000 items; if a tenth of them is drawn, twice
    ids = [f"item-{number}" for number in range(20_000)]
    once, again = ([drawn("sentiment", each, 0.1) for each in ids] for _ in range(2))
    # I expect the same tenth (within five standard deviations)
    assert once == again
    assert abs(sum(once) - 2_000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5
    # and another tenth in another workflow
    assert once != [drawn("topics", each, 0.1) for each in ids]


@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_drew(item_id: str, a: float, b: float) -> None:
    small, large = sorted((a, b))
    assert not drawn("w", item_id, small) or drawn("w", item_id, large)
    assert not drawn("w", item_id, 0.0)
    assert drawn("w", item_id, 1.0)
