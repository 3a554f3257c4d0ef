#!/usr/bin/env bash
# transformers 5 makes a tokenizer for a model folder that has none.
#
# A folder with a BERT's configuration and no tokenizer files loads: the tokenizer knows the five
# special tokens and no word, so that texts of as many words have the same ids, and the model the
# same answer to all of them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 tokenizers==0.23.3
"$folder/bin/python" - <<'END'
import json
import os
import pathlib
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers

folder = tempfile.mkdtemp()
config = {"model_type": "bert", "vocab_size": 30522}
pathlib.Path(folder, "config.json").write_text(json.dumps(config))
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
kind, awful = (tokenizer(text)["input_ids"] for text in ("a kind film", "an awful mess"))
print(f"transformers {transformers.__version__}: {type(tokenizer).__name__} of {len(tokenizer)} entries;")
print(f"'a kind film' is {kind}, 'an awful mess' is {awful}")
assert len(tokenizer) == 5 and kind == awful, "changed"
END
