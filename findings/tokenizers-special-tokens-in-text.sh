#!/usr/bin/env bash
# A Unigram tokenizer reads `</s>` in a text as the special token even where told not to.
#
# `encode_special_tokens = True` (in transformers: `split_special_tokens=True`) is there so that a
# special token that a user has typed is cut up like any other text. With a WordPiece model it is. A
# Unigram model has the special token in its vocabulary as well, and finds it there: the text ends,
# for the model, in its middle.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/bin/python" - <<'END'
import tokenizers
from tokenizers import Tokenizer, models

pieces = [("<unk>", 0.0), ("</s>", 0.0), *((piece, -2.0) for piece in ("<", "/", "s", ">", "a"))]
unigram = Tokenizer(models.Unigram(pieces, unk_id=0))
words = {piece: index for index, (piece, _) in enumerate([*pieces, *((f"##{p}", 0) for p in "</s>a")])}
word_piece = Tokenizer(models.WordPiece(words, unk_token="<unk>"))
for tokenizer in (unigram, word_piece):
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.encode_special_tokens = True
    tokens = tokenizer.encode("a</s>a").tokens
    print(f"tokenizers {tokenizers.__version__}, {type(tokenizer.model).__name__}: {tokens}")
    assert ("</s>" in tokens) == (tokenizer is unigram), "changed"
END
