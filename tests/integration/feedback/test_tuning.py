"""Is a checkpoint that was trained on read as the one that it came from?"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from services.feedback.training.fitting import Recipe
from services.feedback.training.tuning import open_tunable
from services.inference.classifier import load
from tests.integration.inference.test_classifier import LABELS, SIZE, SPECIAL, WORDS, write
from tests.integration.inference.test_unusable_models import decoder

RECIPE = Recipe(rank=2, epochs=1, max_tokens=16)


def with_an_added_word(folder: Path) -> Path:
    """Tokenizer files as older checkpoints have them: a list of words, and beside it one added."""
    sizes = {**SIZE, "vocab_size": SIZE["vocab_size"] + 1}
    write(folder, BertForSequenceClassification(BertConfig(**sizes, **LABELS)))
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS))
    (folder / "added_tokens.json").write_text(json.dumps({"[PRODUCT]": SIZE["vocab_size"]}))
    told = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "mask_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def test_a_version_keeps_all_files_of_its_tokenizer(tmp_path: Path) -> None:
    # Given a checkpoint whose tokenizer has a word in a file of its own
    source, out = with_an_added_word(tmp_path / "source"), tmp_path / "out"
    # If a version of it is trained and saved
    open_tunable(source, RECIPE).save(out)
    # I expect it to read texts by the same numbers, that word among them
    assert (out / "added_tokens.json").is_file()
    texts = ["the [PRODUCT] was good", "[PRODUCT]", "a joy"]
    before, after = (
        AutoTokenizer.from_pretrained(each, local_files_only=True)(texts).input_ids
        for each in (source, out)
    )
    assert after == before
    assert SIZE["vocab_size"] in before[1]
    # and to answer as before, since nothing was learned
    found = [load(str(each)).classify(texts) for each in (source, out)]
    for one, other in zip(*found, strict=True):
        assert other.distribution == pytest.approx(one.distribution, abs=1e-5)


@pytest.mark.parametrize(("pad", "pad_id"), [("[PAD]", None), ("[PAD]", 3), ("[PAD]", 0)])
def test_a_decoder_pads_after_training_as_before(
    tmp_path: Path, pad: str, pad_id: int | None
) -> None:
    # Given a decoder whose tokenizer pads with token 0, and whose config says so, or another, or no
    source, out = tmp_path / "source", tmp_path / "out"
    decoder(source, pad=pad, pad_id=pad_id)
    tunable = open_tunable(source, RECIPE)
    # I expect training to pad as scoring does, so that a batch answers as its texts do alone
    rows = [each.ids for each in tunable.read(["good", "the film was a joy to watch"])]
    with torch.no_grad():
        alone = [tunable.network(**tunable.assembly([row])).logits for row in rows]
        if not tunable.assembly.alike:
            together = tunable.network(**tunable.assembly(rows)).logits
            assert torch.allclose(torch.cat(alone), together, atol=1e-4)
    # and the saved config to say of the padding what the first one said.
    tunable.save(out)
    assert json.loads((out / "config.json").read_text()).get("pad_token_id") == pad_id


def test_special_tokens_in_a_lesson_are_text(tmp_path: Path) -> None:
    source = tmp_path / "tiny"
    write(source, BertForSequenceClassification(BertConfig(**SIZE, **LABELS)))
    (row,) = open_tunable(source, RECIPE).read(["good [PAD] bad"])
    assert 0 not in row.ids
