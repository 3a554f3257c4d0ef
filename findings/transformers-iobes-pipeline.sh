#!/usr/bin/env bash
# transformers' token-classification pipeline makes two spans of one entity that is tagged IOBES.
#
# In IOBES (BILOU) an entity of two words is tagged `B-PER E-PER`, and of one word `S-PER`; there are
# checkpoints with such tags. The pipeline's grouping (`aggregation_strategy`) takes the label after
# the dash of any prefix, so that it looks as if it knew the scheme, but only `I-` goes on with a
# span: "Ada Lovelace" comes out as two people. We read the tags as they are meant.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0
"$folder/bin/python" - 2>/dev/null <<'END'
import transformers
from transformers.pipelines.token_classification import TokenClassificationPipeline as Pipeline


class Words:
    def convert_tokens_to_string(self, tokens):
        return " ".join(tokens)


pipeline = object.__new__(Pipeline)  # without a network: what is looked at is the grouping
pipeline.tokenizer = Words()


def groups(*tags):
    words = [("Ada", 0, 3), ("Lovelace", 4, 12)]
    tagged = [
        {"entity": tag, "score": 0.9, "index": place + 1, "word": word, "start": start, "end": end}
        for place, (tag, (word, start, end)) in enumerate(zip(tags, words))
    ]
    return [(group["entity_group"], group["word"]) for group in pipeline.group_entities(tagged)]


iob, iobes, single = groups("B-PER", "I-PER"), groups("B-PER", "E-PER"), groups("S-PER")
print(f"transformers {transformers.__version__}: IOB {iob}; IOBES {iobes}; one word {single}")
assert iob == [("PER", "Ada Lovelace")], "changed"
assert iobes == [("PER", "Ada"), ("PER", "Lovelace")] and single == [("S-PER", "Ada")], "changed"
END
