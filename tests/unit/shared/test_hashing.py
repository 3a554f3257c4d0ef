"""Does every draw by hash give the numbers that it has always given?

What was held out once has not been trained on, and an item's place on the panel is in the record:
another number here is another hold-out and another panel. Never mend these values; mend the code.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.feedback.training import labelled_texts, rated_texts, replay_set, train_texts
from services.feedback.training.examples import TrainingExample
from services.inference import shadow
from services.review_ui.tasks import rounds
from services.router.draw import draw
from shared.hashing import hash01

IDS = [*(f"item-{number}" for number in range(60)), "", "ünïcode \u2028", "\ud800", "x" * 5_000]
TEXTS = [f"Text  Number {number}" for number in range(64)]


def bits(holds: Callable[[str], bool], each: list[str] = IDS) -> str:
    """For which of them it holds, as a hexadecimal number."""
    return f"{sum(holds(one) << place for place, one in enumerate(each)):016x}"


@pytest.mark.parametrize(
    ("salt", "parts", "number"),
    [
        ("", (), 0.49997478321225963),
        ("salt", ("sentiment", "item-1"), 0.7999734786333003),
        ("pepper", ("sentiment", "item-1"), 0.7893065434045883),
        ("salt", ("ab", "c"), 0.4949555129422323),
        ("s" * 500, ("ünïcode", "\ud800"), 0.02525251689273511),
    ],
)
def test_the_panels_number_of_an_item(salt: str, parts: tuple[str, ...], number: float) -> None:
    assert hash01(salt, *parts) == number


def test_the_panels_draw_hashes_the_workflow_and_then_the_item() -> None:
    assert draw("salt", "v1", "sentiment", "item-1", 0.5).u == 0.7999734786333003


@pytest.mark.parametrize(
    ("parts", "number"),
    [
        ((), 0.8931675160897388),
        (("sentiment", "item-1"), 0.8837906311629214),
        (("ünïcode", "\ud800"), 0.2027280650277853),
    ],
)
def test_the_random_order_of_blind_tasks(parts: tuple[str, ...], number: float) -> None:
    assert hash01(None, *parts) == number


def test_which_items_a_second_person_answers() -> None:
    assert bits(lambda item: rounds.drawn("sentiment", item, 0.3)) == "a90a440d78b82282"


def test_which_items_a_candidate_model_answers_too() -> None:
    assert bits(lambda item: shadow.drawn(item, 0.3)) == "f3058101b1611202"


def test_which_items_are_held_out_and_which_serve_the_calibration() -> None:
    assert bits(labelled_texts.is_held_out) == "08301a4049024088"
    assert bits(labelled_texts.is_for_calibration) == "0100602800042800"


def test_which_of_the_rated_movie_snippets_are_in_which_part(tmp_path: Path) -> None:
    # Given the two files of a domain, with two sentences of each review
    folder = tmp_path / "hutto-gilbert-2014"
    folder.mkdir()
    keys = [f"{number // 2}_{number % 2}" for number in range(100, 164)]
    truth = "".join(f"{key}\t1.5\tText {key}\r\n" for key in keys)
    ratings = "".join(f"{key}\t1.5\t0.5\t[1, 2]\r\n" for key in keys)
    (folder / "movieReviewSnippets_GroundTruth.txt").write_text(truth, newline="")
    (folder / "movieReviewSnippets_anonDataRatings.txt").write_text(ratings, newline="")
    # I expect each review where it has always been
    parts = rated_texts.split_movies(tmp_path)
    ids = [f"movies-{key}" for key in keys]
    train, calibration, held_out = ({snippet.id for snippet in part} for part in parts)
    assert bits(train.__contains__, ids) == "3cc033f33f3fc03c"
    assert bits(calibration.__contains__, ids) == "000ccc00c0003cc0"
    assert bits(held_out.__contains__, ids) == "c333000c00c00303"


def test_which_texts_of_an_old_domain_are_measured_on(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": "a"}) + "\n" for t in TEXTS))
    held_out = {judged.text for judged in replay_set.from_file(path, ("a", "b")).held_out}
    assert bits(held_out.__contains__, TEXTS) == "0c10808229426018"


def test_which_labelled_texts_a_new_model_learns_from() -> None:
    parts = train_texts.split([TrainingExample(text, (1.0, 0.0)) for text in TEXTS])
    train, calibration, held_out = ([example.text for example in part] for part in parts)
    assert bits(train.__contains__, TEXTS) == "bfd6fdfbb5dff7ff"
    assert bits(calibration.__contains__, TEXTS) == "4000000008200000"
    assert bits(held_out.__contains__, TEXTS) == "0029020442000800"
    # and in the order of their numbers, which a recipe with `most` cuts short
    assert [TEXTS.index(text) for text in train[:8]] == [50, 49, 19, 47, 4, 0, 7, 43]
