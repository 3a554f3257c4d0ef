"""Is a model that would answer wrongly, or not at all, refused by name when it is loaded?"""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from benchmarks.architectures import piped
from services.inference.classifier import load
from shared.errors import ConfigurationError, Permanent
from tests.integration.inference.test_classifier import LABELS, SIZE, SPECIAL, WORDS, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny"
    write(path, BertForSequenceClassification(BertConfig(**SIZE, **LABELS)))
    return path


def config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def weights(folder: Path) -> Path:
    return folder / "model.safetensors"


def lfs_pointer(folder: Path) -> None:
    weights(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def cut_off(folder: Path) -> None:
    weights(folder).write_bytes(weights(folder).read_bytes()[:-500])


def empty(folder: Path) -> None:
    weights(folder).write_bytes(b"")


def labels_from_one(folder: Path) -> None:
    config(folder, id2label={"1": "Negative", "2": "Neutral", "3": "Positive"})


def another_head(folder: Path) -> None:
    config(folder, id2label={str(i): f"L{i}" for i in range(5)}, label2id={})


def no_size(folder: Path) -> None:
    config(folder, hidden_size="many")


def no_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def no_words(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)


def foreign_weights(folder: Path) -> None:
    """As of a BERT with position_embedding_type = "relative_key", which transformers 5 ignores."""
    held = load_file(weights(folder))
    held["bert.encoder.layer.0.attention.self.distance_embedding.weight"] = torch.ones(39, 16)
    save_file(held, weights(folder), {"format": "pt"})


def one_weight_less(folder: Path) -> None:
    held = load_file(weights(folder))
    del held["bert.encoder.layer.1.output.dense.weight"]
    save_file(held, weights(folder), {"format": "pt"})


def all_the_same(folder: Path) -> None:
    """A head that reads nothing, as of an attention that its kernel is missing for."""
    held = load_file(weights(folder))
    held["classifier.weight"] = torch.zeros_like(held["classifier.weight"])
    save_file(held, weights(folder), {"format": "pt"})


def more_than_numbers(folder: Path) -> None:
    weights(folder).unlink()
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"made by": Path("/")}, file)


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (lfs_pointer, r"model\.safetensors is a git-LFS pointer.*git lfs pull"),
    (cut_off, "SafetensorError"),
    (empty, "SafetensorError"),
    (labels_from_one, r"id2label .* numbers the labels 1, 2, 3, not 0 to 2"),
    (another_head, r"classifier\.weight is \(3, 32\), not \(5, 32\)"),
    (no_size, "hidden_size"),
    (no_config, "holds no usable model"),
    (no_words, "holds no usable model"),
    (no_tokenizer, r"it has no tokenizer: neither tokenizer\.json nor vocab\.txt"),
    (foreign_weights, r"leaves out, and answers worse: .*distance_embedding"),
    (one_weight_less, r"lack bert\.encoder\.layer\.1\.output\.dense\.weight"),
    (all_the_same, "gives different texts the same scores"),
    (more_than_numbers, "save them as safetensors"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("breaks", "why"), BROKEN, ids=[one.__name__ for one, _ in BROKEN])
def test_it_is_one_error_that_says_why(
    folder: Path, breaks: Callable[[Path], None], why: str
) -> None:
    breaks(folder)
    with pytest.raises(ConfigurationError, match=why):
        load(str(folder))


def test_a_panic_of_a_library_is_a_reason_like_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a library in Rust that panics, which is no Exception
    class Panic(BaseException):
        pass

    def panics(*_: object, **__: object) -> None:
        raise Panic("index out of bounds")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", panics)
    with pytest.raises(ConfigurationError, match="Panic: index out of bounds"):
        load(str(folder))


def test_weights_of_other_heads_are_no_reason(folder: Path) -> None:
    # Given a checkpoint that kept its pretraining head and a pooler of a later layer
    held = load_file(weights(folder))
    held["cls.predictions.bias"] = torch.zeros(3)
    save_file(held, weights(folder), {"format": "pt"})
    assert load(str(folder)).labels == ("Negative", "Neutral", "Positive")


def decoder(folder: Path, *, pad: str | None, pad_id: int | None, eos: bool = False) -> str:
    """A GPT-2 whose config and tokenizer may name different padding."""
    made = GPT2Config(
        vocab_size=SIZE["vocab_size"], n_positions=20, n_embd=32, n_layer=2, n_head=2, **LABELS
    )
    made.pad_token_id = pad_id
    write(folder, GPT2ForSequenceClassification(made))
    words = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    if eos:
        words.post_processor = processors.TemplateProcessing(
            "$A [SEP]", special_tokens=[("[SEP]", 3)]
        )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # no types there
        tokenizer_object=words, unk_token="[UNK]", pad_token=pad, eos_token="[SEP]"
    ).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("pad", "pad_id", "eos"),
    [
        ("[PAD]", 3, False),
        ("[PAD]", None, False),
        ("[SEP]", None, True),
        ("[UNK]", None, False),
        (None, None, False),
        ("good", None, False),
        ("[PAD]", 4, False),
        ("[PAD]", 0, True),
    ],
    ids=[
        "tokenizer 0, config another",
        "only the tokenizer's",
        "eos is the padding, and the template's",
        "padding is the unknown word",
        "none at all",
        "padding is a word",
        "config's is a word",
        "both, with eos",
    ],
)
def test_a_head_that_looks_for_padding_looks_where_the_pipeline_does(
    tmp_path: Path, pad: str | None, pad_id: int | None, eos: bool
) -> None:
    # Given a decoder, whose head reads the last token that is no padding
    path = decoder(tmp_path / "gpt2", pad=pad, pad_id=pad_id, eos=eos)
    texts = ["good", "the film was a joy", "bad the", "nothing good", "a dull zebra"]
    reference = piped(Path(path))
    expected = [
        [reference(text)[label] for label in ("Negative", "Neutral", "Positive")] for text in texts
    ]
    # If texts are scored together, also ones that end in what others pad with
    found = load(path).classify(texts)
    # I expect the pipeline's answer for each of them alone
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.distribution == pytest.approx(theirs, abs=1e-4)


def test_a_text_without_any_token_has_no_answer(tmp_path: Path) -> None:
    model = load(decoder(tmp_path / "gpt2", pad="[PAD]", pad_id=0))
    with pytest.raises(Permanent, match="text 1 has no token") as caught:
        model.classify(["good", " ", "bad"])
    assert caught.value.reason == "unscorable"


def test_positions_that_are_counted_from_padding_0_leave_a_shorter_window(tmp_path: Path) -> None:
    # Given RoBERTa, which counts positions from the padding's id on, and 20 of them
    network = RobertaForSequenceClassification(RobertaConfig(**SIZE, **LABELS, pad_token_id=0))
    model = load(write(tmp_path / "m", network))
    # I expect one token less, and a long text to be scored
    assert model.max_tokens == 19
    assert model.classify([" ".join(["good"] * 60)])[0].windows > 1


def test_a_user_may_type_what_looks_like_a_special_token(folder: Path) -> None:
    # Given words cut at spaces, so that "[SEP]" stands in the vocabulary
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    told["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    path.write_text(json.dumps(told))
    model = load(str(folder))
    # I expect it to be a word that the model does not know, like any other
    typed, unknown = model.classify(["good [SEP] bad", "good zebra bad"])
    assert typed.distribution == pytest.approx(unknown.distribution, abs=1e-6)


def test_a_pinned_hub_model_is_that_revision_and_says_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a cache with two revisions of a model, the newer one is main and has other weights
    cached = tmp_path / "cache" / "models--acme--tiny"
    old, new = "0" * 40, "1" * 40
    shutil.copytree(folder, cached / "snapshots" / old)
    config(folder, id2label={"0": "a", "1": "b", "2": "c"}, label2id={})
    shutil.copytree(folder, cached / "snapshots" / new)
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(new)
    (cached / "refs" / "v1").write_text(old)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    # If it is named with a commit or a tag, I expect that one, and its name in every event
    for revision in (old, "v1"):
        pinned = load(f"acme/tiny@{revision}")
        assert pinned.labels == ("Negative", "Neutral", "Positive")
        assert pinned.model_version.startswith(f"acme/tiny@{revision}@")
    assert load("acme/tiny").labels == ("a", "b", "c")
    # and one that is not there is refused.
    with pytest.raises(ConfigurationError, match="acme/tiny@v2"):
        load("acme/tiny@v2")
