#!/usr/bin/env bash
# nltk's MASI distance has no answer where two people both say that no label fits.
#
# For sets of labels an empty set is an answer like any other ("none of them"). `masi_distance` of
# two empty sets divides by the size of their union and raises ZeroDivisionError; so does an
# `AnnotationTask` over data in which two people agree on it. We take that distance for 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check nltk==3.10.4
"$folder/bin/python" - <<'END'
import nltk
from nltk.metrics.agreement import AnnotationTask
from nltk.metrics.distance import masi_distance

none, one = frozenset(), frozenset(["toxic"])
said = [("ada", "1", none), ("bob", "1", none), ("ada", "2", one), ("bob", "2", one)]
for what, ask in (
    ("two empty sets", lambda: masi_distance(none, none)),
    ("alpha of full agreement", AnnotationTask(said, distance=masi_distance).alpha),
):
    try:
        print(f"nltk {nltk.__version__}, {what}: {ask()}")
        raise SystemExit("changed")
    except ZeroDivisionError as error:
        print(f"nltk {nltk.__version__}, {what}: ZeroDivisionError: {error}")
assert masi_distance(none, one) == 1.0, "changed"
END
