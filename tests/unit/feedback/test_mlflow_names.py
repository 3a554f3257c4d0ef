"""Does MLflow get a name of its own for each label?"""

import posixpath
import re

from hypothesis import example, given
from hypothesis import strategies as st

from services.feedback.registry.mlflow_copy import metric_end

LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


@given(LABELS, LABELS)
@example("C++", "C##")
@example("C.", "C.2e")
@example("a ", "a.20")
@example("\u20ac" * 100, "\u20ac" * 99 + "\u20ad")
def test_no_two_labels_have_one_name_and_mlflow_takes_each(one: str, other: str) -> None:
    assert (metric_end(one) == metric_end(other)) == (one == other)
    for label in (one, other):
        name = f"held_out.candidate.f1.{metric_end(label)}"
        # As MLflow checks them; it is asked itself in integration/feedback/test_mlflow.py.
        assert re.fullmatch(r"[/\w.\- ]{1,250}", name)
        assert posixpath.normpath(name) == name


def test_what_is_plain_stays_readable() -> None:
    assert metric_end("very_bad - 2") == "very_bad - 2"
    assert metric_end("C++") == "C.2b.2b"
