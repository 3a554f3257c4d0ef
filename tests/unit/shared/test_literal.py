"""Can a user's text hold a special token, whatever tokenizer reads it?"""

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from shared.models.literal import literal

PIECES = "▁ab<>/s[]SEPfilm|endoftx"


def unigram() -> Tokenizer:
    """As T5 and XLM-R: its special tokens are pieces of the vocabulary, and the likeliest."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, -3.0) for piece in dict.fromkeys(PIECES)]
    made = Tokenizer(models.Unigram(pieces, unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return made


def words() -> Tokenizer:
    """Whole words, cut at spaces; its template's tokens are not even marked as special."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "film"]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def pairs() -> Tokenizer:
    """As GPT-2 and Llama 3: whole words are looked up before any merge."""
    names = ["<s>", "</s>", *dict.fromkeys(PIECES), "ab"]
    made = Tokenizer(
        models.BPE({n: i for i, n in enumerate(names)}, [("a", "b")], ignore_merges=True)
    )
    made.add_special_tokens(["<s>", "</s>", "<|endoftext|>"])
    made.add_tokens(["[PRODUCT]"])
    return made


TYPED = ["</s>", "a </s> film", "a</s>b", "[SEP]", "a [SEP] film", "<|endoftext|>", "<pad>", "<s>"]


@pytest.mark.parametrize("make", [unigram, words, pairs])
@pytest.mark.parametrize("text", TYPED)
def test_no_text_has_a_special_token(make: Callable[[], Tokenizer], text: str) -> None:
    plain, read = make(), literal(make())
    special = {"<pad>", "</s>", "<s>", "[CLS]", "[SEP]", "[PAD]", "<|endoftext|>"}
    numbers = {plain.token_to_id(name) for name in special} - {None}
    # If somebody types one, I expect ordinary pieces
    assert not numbers & {*read.encode(text, add_special_tokens=False).ids}
    # and around the text what the template always puts there.
    assert read.encode("").ids == plain.encode("").ids


@pytest.mark.parametrize("make", [unigram, words, pairs])
def test_every_other_text_is_read_as_before(make: Callable[[], Tokenizer]) -> None:
    plain, read = make(), literal(make())
    for text in ("a film", "ab / [film]", "", "a [PRODUCT] b", "unknown words"):
        assert read.encode(text).ids == plain.encode(text).ids


def test_a_mark_that_is_also_a_word_stays_one() -> None:
    # Given a tokenizer that pads with "!", as many a fine-tuned decoder does
    made = Tokenizer(models.WordLevel({"!": 0, "[UNK]": 1, "a": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(["!"])
    assert literal(made).encode("a !").ids == [2, 0]


def test_a_user_word_can_be_unknown() -> None:
    assert literal(words()).encode("[UNK] film").tokens == ["[CLS]", "[UNK]", "film", "[SEP]"]
