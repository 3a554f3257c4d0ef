"""Made-up items with predictions and answers of every kind, of the sort that break files."""

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from shared.answers.base import Kind
from shared.formats.example import Example

# Emoji (alone, with a selector, joined), combining marks, line ends of every sort, what parts
# columns, and what a reader takes for something else.
_BITS = ["Peter", "ACME", "é", "e\u0301", "\U0001f600", "❤\ufe0f", "\U0001f469\u200d\U0001f680",
         " ", "  ", "\n", "\r\n", "\t", "\u2028", "\x85", "\u00a0", "\u200b", ",", '"', "'", "\\",
         "\\n", "#", "=1", "-DOCSTART-", "_", "-", "{}", "[",
         "O", "B-PER", "名前", "x" * 90]  # fmt: skip
_VISIBLE = "a"
LABELS = ("PER", "ORG", "a b", "né")
texts = st.lists(st.sampled_from(_BITS), max_size=8).map("".join)
visible = texts.map(lambda text: text if text.strip() else f"{text}{_VISIBLE}{text}")
_any_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | _any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_any_text, inner, max_size=3),
    max_leaves=5,
)
_objects = st.dictionaries(_any_text, _json, max_size=3)
_probabilities = st.floats(0, 1)


@st.composite
def examples(draw: st.DrawFn, kind: Kind) -> Example:
    """An item with a person's answer, which is checked; with or without a prediction."""
    item: dict[str, Any] = {"id": draw(_any_text.filter(bool)), "text": draw(visible)}
    if draw(st.booleans()):
        item["metadata"] = draw(_objects)
    if kind == "text" and draw(st.booleans()):
        item["draft"] = draw(visible)
    if kind == "preference":
        item["candidates"] = draw(st.lists(texts, min_size=2, max_size=4))
    if kind == "approval":
        item["action"] = {"name": "refund", "arguments": draw(_objects)}
        item["expires_at"] = "2030-01-01T00:00:00Z"
    answers = answers_of(kind, item)
    prediction = None
    if draw(st.booleans()):
        answer = draw(answers)
        prediction = {
            "answer": answer,
            "confidence": draw(_probabilities),
            "model_version": draw(_any_text.filter(bool)),
        }
        if kind == "spans" and answer["spans"] and draw(st.booleans()):
            prediction["parts"] = [draw(_probabilities) for _ in answer["spans"]]
        if kind in ("labels", "form") and draw(st.booleans()):
            prediction["parts"] = {"PER": draw(_probabilities)}
    return Example(kind, item, prediction, draw(answers))


def answers_of(kind: Kind, item: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Answers of a kind to an item, in their normal form."""
    match kind:
        case "label":
            return st.fixed_dictionaries({"label": st.sampled_from(LABELS)})
        case "labels":
            chosen = st.sets(st.sampled_from(LABELS))
            return chosen.map(lambda given: {"labels": [x for x in LABELS if x in given]})
        case "spans":
            return _spans(item["text"])
        case "form":
            return st.fixed_dictionaries({"form": _objects})
        case "text":
            return st.fixed_dictionaries({"text": visible})
        case "preference":
            places = st.none() | st.integers(0, len(item["candidates"]) - 1)
            return st.fixed_dictionaries({"preferred": places})
        case "approval":
            return st.fixed_dictionaries(
                {
                    "verdict": st.sampled_from(("approve", "reject")),
                    "arguments": _objects,
                    "reply": st.none() | texts,
                }
            )


@st.composite
def _spans(draw: st.DrawFn, text: str) -> dict[str, Any]:
    """Sorted, and none over another."""
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    pairs = [pair for pair in pairwise(cuts) if draw(st.booleans())]
    return {
        "spans": [
            {"start": start, "end": end, "label": draw(st.sampled_from(LABELS))}
            for start, end in pairs
        ]
    }
