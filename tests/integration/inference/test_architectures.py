"""Does every text classifier of transformers answer here as in transformers' own pipeline, or is it
refused by name? `--soak` tries all of them, else those that once answered wrongly and a few others.
"""

from pathlib import Path

import pytest

from benchmarks.architectures import ARCHITECTURES, OF_TOKENS, tried
from shared.models.task import Task

# By how they may be scored together; the second column of docs/operate/models.md has them all.
PADDED = ["bert", "roberta", "gpt2", "xlnet", "gemma3", "mpt", "bart", "xlm-roberta"]
EQUAL_LENGTHS = ["fnet", "convbert", "funnel", "mobilebert", "nystromformer", "xlm", "yoso"]
REFUSED = {"reformer": "differently from call to call", "mra": "different texts the same scores"}
SETS = ["bert", "distilbert", "roberta", "gpt2", "xlnet", "fnet", "electra"]
TAGGERS = ["bert", "distilbert", "roberta", "xlm-roberta", "gpt2", "xlnet", "fnet", "deberta-v2"]
MUST_SERVE = {"bert", "distilbert", "roberta", "xlm-roberta", "electra"}
NOT_SAMPLED = sorted({*ARCHITECTURES} - {*PADDED, *EQUAL_LENGTHS, *REFUSED})


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The many others only with --soak."""
    soak = metafunc.config.getoption("--soak")
    if "any_set" in metafunc.fixturenames:
        metafunc.parametrize("any_set", ARCHITECTURES if soak else SETS)
    if "any_tagger" in metafunc.fixturenames:
        metafunc.parametrize("any_tagger", OF_TOKENS if soak else TAGGERS)
    if "other" in metafunc.fixturenames:
        metafunc.parametrize("other", NOT_SAMPLED if metafunc.config.getoption("--soak") else [])


@pytest.mark.filterwarnings("ignore")  # transformers' own, of old architectures
@pytest.mark.parametrize("bare", [False, True], ids=["framed", "bare"])
@pytest.mark.parametrize("architecture", PADDED)
def test_what_pads_answers_as_the_pipeline(architecture: str, bare: bool) -> None:
    # Given a tiny random checkpoint, with special tokens and padding, or without any of both
    found = tried(architecture, bare=bare)
    # I expect the pipeline's own probabilities alone, in company and at the window's edge
    if not found.served:  # some cannot do without
        assert bare
        assert found.why
        return
    assert found.served in ("packed", "padded")
    assert found.difference < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", EQUAL_LENGTHS)
def test_what_padding_would_change_is_scored_in_rows_of_equal_length(architecture: str) -> None:
    found = tried(architecture)
    assert found.served == "equal_lengths"
    assert found.difference < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("architecture", "why"), REFUSED.items())
def test_what_is_random_or_answers_all_texts_alike_is_refused(architecture: str, why: str) -> None:
    found = tried(architecture)
    assert not found.served
    assert why in found.why


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bare", [False, True], ids=["framed", "bare"])
def test_every_other_one_is_right_or_refused(other: str, bare: bool) -> None:
    found = tried(other, bare=bare)
    assert found.right, f"off by {found.difference}"


@pytest.mark.filterwarnings("ignore")
def test_label_sets_are_the_pipelines_or_refused(any_set: str) -> None:
    found = tried(any_set, task=Task("labels", ("LABEL_0", "LABEL_1", "LABEL_2")))
    assert found.right, f"off by {found.difference}"
    assert found.served or any_set not in MUST_SERVE, found.why


@pytest.mark.filterwarnings("ignore")
def test_spans_are_the_pipelines_or_refused(any_tagger: str) -> None:
    found = tried(any_tagger, task=Task("spans", ("LABEL_0", "LABEL_1", "LABEL_2")))
    assert found.right, f"off by {found.difference}"
    assert found.served or any_tagger not in MUST_SERVE, found.why


def test_the_page_has_a_row_for_each_of_them() -> None:
    page = (Path(__file__).parents[3] / "docs/operate/models.md").read_text(encoding="utf-8")
    assert [name for name in ARCHITECTURES if f"\n| {name} |" not in page] == []
