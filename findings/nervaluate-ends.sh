#!/usr/bin/env bash
# nervaluate takes two spans that only touch for an overlap where ends are exclusive.
#
# Spans are given to it as dicts with `start` and `end`, as the peers' exports and spaCy have them:
# ends exclusive. It counts ends as part of the span: [0, 5) and [5, 9), which share no character,
# are a partial match of each other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check nervaluate==1.2.1
"$folder/bin/python" - <<'END'
from importlib.metadata import version

from nervaluate import Evaluator

said = [[{"label": "PER", "start": 0, "end": 5}]]
other = [[{"label": "PER", "start": 5, "end": 9}]]
result = Evaluator(said, other, tags=["PER"], loader="dict").evaluate()
partial = result["overall"]["partial"]
print(f"nervaluate {version('nervaluate')}: [0, 5) beside [5, 9): {partial.partial} partial match")
assert partial.partial == 1, "changed"
END
