"""Does any checkpoint become honest distributions, whatever the texts and whatever their company?

The checkpoints are tiny, random and made here: the code is what loads a real one.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from services.inference import passes
from services.inference.classifier import Classifier, load
from shared.errors import ConfigurationError, Permanent

WORDS = [
    "the",
    "film",
    "was",
    "good",
    "bad",
    "dull",
    "a",
    "joy",
    "to",
    "watch",
    "and",
    "nothing",
    "else",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZE: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 20,
}
LABELS: dict[str, Any] = {"id2label": {0: "Negative", 1: "Neutral", 2: "Positive"}, "num_labels": 3}


def tokenizer(padded: bool = False) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    if padded:
        words.enable_padding(length=16)
        words.enable_truncation(16)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no types there
        tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]", model_max_length=20
    )


def write(folder: Path, network: PreTrainedModel, padded: bool = False) -> str:
    torch.manual_seed(5)
    for parameter in network.parameters():  # the usual start is too even to tell texts apart
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    network.save_pretrained(folder)
    tokenizer(padded).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    write(path, BertForSequenceClassification(BertConfig(**SIZE, **LABELS)))
    return path


@pytest.fixture
def tiny(folder: Path) -> Classifier:
    return load(str(folder))


def reference(folder: Path, text: str) -> list[float]:
    """What transformers itself says about one text, alone."""
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = PreTrainedTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")
    with torch.inference_mode():
        logits = network(input_ids=ids["input_ids"], attention_mask=ids["attention_mask"]).logits
    shares: list[float] = logits.softmax(-1)[0].tolist()
    return shares


def test_a_checkpoint_with_three_labels_answers_as_transformers_does(folder: Path) -> None:
    # Given a folder as a hub has it, if I load it and score a text
    model = load(str(folder))
    (prediction,) = model.classify(["The film was a joy"])
    # I expect the model's labels and, within rounding, transformers' own probabilities
    assert model.labels == ("Negative", "Neutral", "Positive")
    assert prediction.distribution == pytest.approx(
        reference(folder, "The film was a joy"), abs=1e-6
    )
    assert sum(prediction.distribution) == pytest.approx(1, abs=1e-12)
    assert (prediction.tokens, prediction.windows, prediction.truncated) == (5, 1, False)


def test_the_answer_for_a_text_does_not_depend_on_its_company_or_place(tiny: Classifier) -> None:
    # Given texts of every length from 1 to 60 words, some longer than the window
    random = np.random.default_rng(3)
    texts = [" ".join(random.choice(WORDS, size)) for size in random.permutation(60) + 1]
    alone = [tiny.classify([text])[0] for text in texts]
    # If I score them together, forwards and backwards
    together = tiny.classify(texts)
    backwards = tiny.classify(texts[::-1])[::-1]
    # I expect the same answers, in the order of the texts
    for one, two, three in zip(alone, together, backwards, strict=True):
        assert two.distribution == pytest.approx(one.distribution, abs=1e-4)
        assert three.distribution == pytest.approx(one.distribution, abs=1e-4)
        assert two[1:] == three[1:] == one[1:]
    # and that the answers differ, or this test would show nothing
    assert np.ptp([prediction.distribution[0] for prediction in alone]) > 0.1


def test_padding_and_truncation_in_the_tokenizers_file_change_nothing(tmp_path: Path) -> None:
    # Given a checkpoint whose tokenizer.json pads everything to 16 tokens and cuts there
    network = BertForSequenceClassification(BertConfig(**SIZE, **LABELS))
    plain, padded = (
        load(write(tmp_path / "plain", network)),
        load(write(tmp_path / "padded", network, padded=True)),
    )
    # If I score a short and a long text, I expect the answers of the one without
    texts = ["good", " ".join(WORDS[:12] * 2)[:80]]
    assert padded.classify(texts) == plain.classify(texts)


def test_a_text_longer_than_the_window_is_scored_by_windows(tiny: Classifier) -> None:
    # Given a window of 20 tokens, 18 of them for the text, and 40 words
    (prediction,) = tiny.classify([" ".join(["good"] * 40)])
    # I expect three windows, that overlap by 4, and nothing cut off
    assert (prediction.tokens, prediction.windows, prediction.truncated) == (40, 3, False)


def test_windows_weigh_as_much_as_the_tokens_that_they_hold(tiny: Classifier) -> None:
    # Given 17 good words and one bad one in the first window, and 1 token more in a second
    text = " ".join(["good"] * 17 + ["bad"] + ["dull"])
    (whole,) = tiny.classify([text])
    first, second = (
        np.log(p.distribution)
        for p in tiny.classify([text[: -len(" dull")], "good good good bad dull"])
    )
    # If I mix the logits of both by their tokens, 18 and 5, I expect the answer
    mixed = np.exp((18 * first + 5 * second) / 23)
    assert whole.windows == 2
    assert abs(first - second).max() > 0.1
    # Logarithms of probabilities are logits up to a shift, which the mean keeps.
    assert whole.distribution == pytest.approx(mixed / mixed.sum(), abs=1e-5)


def test_a_text_beyond_the_last_window_is_said_to_be_truncated(tiny: Classifier) -> None:
    # Given a text of 8 windows and its like with one word more
    fits = passes.MAX_WINDOWS * 14 + 4
    whole, cut = tiny.classify([" ".join(["good"] * fits), " ".join(["good"] * (fits + 1))])
    assert (whole.windows, whole.truncated) == (8, False)
    assert (cut.windows, cut.truncated) == (8, True)


def test_a_megabyte_is_read_only_as_far_as_the_windows_can_reach(tiny: Classifier) -> None:
    (prediction,) = tiny.classify(["good " * 200_000])
    assert prediction.truncated
    assert prediction.tokens < 10_000
    # and it is said so where what was read is short and what was not may matter
    (gap,) = tiny.classify(["good" + " " * 20_000 + "bad"])
    assert (gap.tokens, gap.truncated) == (1, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "😀😀😀",
        "كان الفيلم جميلا",
        "\u202eevil\u202c",
        "a\ufffdb",
        "\ud800",
        "x" * 10_000,
    ],
    ids=["empty", "blank", "emoji", "arabic", "override", "replaced NUL", "surrogate", "one word"],
)
def test_no_text_is_too_strange_to_score(tiny: Classifier, text: str) -> None:
    (strange, usual) = tiny.classify([text, "good"])
    assert sum(strange.distribution) == pytest.approx(1)
    assert usual.distribution == pytest.approx(tiny.classify(["good"])[0].distribution, abs=1e-4)


def test_no_texts_are_no_answers(tiny: Classifier) -> None:
    assert tiny.classify([]) == []


def test_scores_that_are_not_finite_name_their_text_and_leave_its_neighbours(folder: Path) -> None:
    # Given a model that answers NaN for every text with the word "dull"
    weights = load_file(folder / "model.safetensors")
    dull = len(SPECIAL) + WORDS.index("dull")
    weights["bert.embeddings.word_embeddings.weight"][dull] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    model = load(str(folder))
    # If I score it with others, I expect the error to be final and to name its place
    with pytest.raises(Permanent, match="scores of text 2 are not finite") as caught:
        model.classify(["good", "bad", "so dull", "a joy"])
    assert caught.value.reason == "not_finite"
    # and its neighbours to be scored without it
    assert len(model.classify(["good", "bad", "a joy"])) == 3


def test_memory_that_torch_cannot_have_is_a_lack_of_memory(tiny: Classifier) -> None:
    # Given a model that needs more memory than there is, as any may while another program has it
    def too_large(rows: Sequence[Sequence[int]]) -> Tensor:
        return torch.zeros(len(rows), 1 << 50)

    tiny._passes._model = replace(tiny._passes._model, network=too_large)
    # If I score a text, I expect an error that blames no text
    with pytest.raises(MemoryError, match="can't allocate"):
        tiny.classify(["good"])


def test_the_stored_temperature_is_applied(folder: Path) -> None:
    # Given a folder with a temperature of 2
    (plain,) = load(str(folder)).classify(["a joy to watch"])
    (folder / "calibration.json").write_text(json.dumps({"temperature": 2.0}))
    model = load(str(folder))
    # If I score a text, I expect the square roots of the probabilities, made to sum to 1
    (cooled,) = model.classify(["a joy to watch"])
    roots = np.sqrt(plain.distribution)
    assert model.temperature == 2.0
    assert cooled.distribution == pytest.approx(roots / roots.sum(), abs=1e-6)


@pytest.mark.parametrize(
    "content", ["{}", "[]", "no json", '{"temperature": 0}', '{"temperature": NaN}']
)
def test_a_broken_temperature_is_refused(folder: Path, content: str) -> None:
    (folder / "calibration.json").write_text(content)
    with pytest.raises(ConfigurationError, match="temperature"):
        load(str(folder))


def test_the_workflows_order_of_labels_is_kept(folder: Path, tiny: Classifier) -> None:
    # Given a workflow that names the labels in another order and case
    model = load(str(folder), labels=["positive", "negative", "neutral"])
    (mine,), (theirs,) = model.classify(["good"]), tiny.classify(["good"])
    # I expect its names and order, and each probability with its label
    assert model.labels == ("positive", "negative", "neutral")
    assert mine.distribution == tuple(theirs.distribution[i] for i in (2, 0, 1))


def test_labels_without_names_take_the_workflows(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m",
        BertForSequenceClassification(BertConfig(**SIZE, id2label={0: "LABEL_0", 1: "LABEL_1"})),
    )
    assert load(path).labels == ("LABEL_0", "LABEL_1")
    assert load(path, labels=["spam", "ham"]).labels == ("spam", "ham")


def test_other_labels_than_the_models_are_refused_with_both_lists(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Negative, Neutral, Positive.*spam, ham"):
        load(str(folder), labels=["spam", "ham"])


def test_the_version_is_stable_and_changes_with_any_byte_that_matters(folder: Path) -> None:
    # Given a model, loaded twice
    version = load(str(folder)).model_version
    assert load(str(folder)).model_version == version
    assert version.startswith("tiny@")
    assert len(version) == len("tiny@") + 12
    # If a file beside the model changes, I expect no other version
    (folder / "README.md").write_text("about this model")
    assert load(str(folder)).model_version == version

    # If one byte of the weights changes, or of the tokenizer, or a temperature comes, I do
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)

    def retype(path: Path) -> None:
        path.write_text(path.read_text().replace('"joy"', '"toy"'))

    changes: list[tuple[str, Callable[[Path], object]]] = [
        ("model.safetensors", flip),
        ("tokenizer.json", retype),
        ("calibration.json", lambda path: path.write_text('{"temperature": 1.5}')),
    ]
    seen = {version}
    for name, change in changes:
        change(folder / name)
        seen.add(load(str(folder)).model_version)
    assert len(seen) == 4


def test_a_roberta_window_leaves_out_the_positions_that_it_reserves(tmp_path: Path) -> None:
    # Given RoBERTa, which counts positions from its padding index on: 20 places, 18 usable
    config = RobertaConfig(**SIZE, **LABELS, pad_token_id=1)
    model = load(write(tmp_path / "roberta", RobertaForSequenceClassification(config)))
    # If I score a text of many windows, I expect windows of 18 and no index error
    assert model.max_tokens == 18
    assert model.classify([" ".join(["good"] * 60)])[0].windows > 1


def test_a_decoder_without_a_padding_token_is_scored_in_batches(tmp_path: Path) -> None:
    config = GPT2Config(
        vocab_size=SIZE["vocab_size"], n_positions=20, n_embd=32, n_layer=2, n_head=2, **LABELS
    )
    config.pad_token_id = None
    model = load(write(tmp_path / "gpt2", GPT2ForSequenceClassification(config)))
    short, long = model.classify(["good", "the film was a joy to watch"])
    alone = model.classify(["good"])[0]
    assert short.distribution == pytest.approx(alone.distribution, abs=1e-4)
    assert short.distribution != long.distribution


def test_an_encoder_without_a_trained_head_is_refused(tmp_path: Path) -> None:
    # transformers would add a random head and only warn: every answer would be noise.
    path = write(tmp_path / "m", BertModel(BertConfig(**SIZE)))
    with pytest.raises(ConfigurationError, match=r"no trained text classifier.*classifier\.weight"):
        load(path)


@pytest.mark.parametrize(
    "kind", [{"num_labels": 1}, {"num_labels": 3, "problem_type": "multi_label_classification"}]
)
def test_a_model_that_does_not_choose_one_label_is_refused(
    tmp_path: Path, kind: dict[str, Any]
) -> None:
    path = write(tmp_path / "m", BertForSequenceClassification(BertConfig(**SIZE, **kind)))
    with pytest.raises(ConfigurationError, match="does not choose one label"):
        load(path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no usable model"):
        load(str(tmp_path))


@pytest.mark.parametrize("model", ["./no/such/folder", "/no/such/folder", "two words", ""])
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(model: str) -> None:
    with pytest.raises(ConfigurationError, match="neither a folder that exists"):
        load(model)


def test_a_hub_that_cannot_be_reached_ends_in_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a hub on which nobody listens, and an empty cache
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    # If I load a model by its id, I expect one message that says what I can do
    with pytest.raises(ConfigurationError, match=r"not cached here.*Check the id.*'embedded'"):
        load("distilbert-base-uncased-finetuned-sst-2-english")


def test_a_model_in_the_hubs_cache_is_loaded_without_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a cache as the hub's own client lays it out, and a hub on which nobody listens
    cached = tmp_path / "cache" / "models--acme--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0" * 40)
    (cached / "snapshots").mkdir()
    folder.rename(cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    # If I load it by its id, I expect it, under that id
    assert load("acme/tiny").model_version.startswith("acme/tiny@")
