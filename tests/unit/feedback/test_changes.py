"""Does what people changed about an answer of any kind have a name, and no value in it?"""

from typing import Any

import pytest

from services.feedback.reports.changes import NOTHING, compared
from services.feedback.reports.disagreements import Reviewed, disagreements
from tests.support.sample_answers import SAMPLES, Sample


def span(start: int, end: int, label: str = "PER") -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


def approval(verdict: str, **more: Any) -> dict[str, Any]:
    return {"verdict": verdict, "reply": None, **more}


@pytest.mark.parametrize(
    ("predicted", "final", "changes"),
    [
        (
            {"labels": ["insult", "toxic"]},
            {"labels": ["toxic", "threat"]},
            {("insult", "(taken away)"), ("(overlooked)", "threat")},
        ),
        ({"spans": [span(0, 5)]}, {"spans": [span(0, 7)]}, {("PER", "PER, moved")}),
        ({"spans": [span(0, 5)]}, {"spans": [span(0, 5, "ORG")]}, {("PER", "ORG")}),
        (
            {"spans": [span(0, 5), span(8, 9)]},
            {"spans": [span(8, 9), span(20, 24, "ORG")]},
            {("PER", "(taken away)"), ("(overlooked)", "ORG")},
        ),
        (
            {"form": {"total": 120, "paid": True, "lines": [{"amount": 1}, {"amount": 2}]}},
            {"form": {"total": 120.0, "paid": 1, "lines": [{"amount": 1}], "due": "May"}},
            {
                ("paid", "another value"),
                ("lines[].amount", "another value"),
                ("(overlooked)", "due"),
            },
        ),
        (
            approval("approve", arguments={"amount": 30}),
            approval("reject", arguments={"amount": 30}, reply="Not now"),
            {("approve", "reject"), ("(overlooked)", "reply")},
        ),
        (
            approval("approve", arguments={"amount": 30}),
            approval("approve", arguments={"amount": 31}),
            {("arguments.amount", "another value")},
        ),
    ],
)
def test_each_change_is_named(
    predicted: dict[str, Any], final: dict[str, Any], changes: set[tuple[str, str]]
) -> None:
    assert {tuple(change) for change in compared(predicted, final).changes} == changes
    assert not compared(predicted, predicted).changes


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.kind)
def test_what_differs_by_a_hair_is_a_change_in_all_kinds_that_have_parts(sample: Sample) -> None:
    said = sample.read(sample.predicted)
    items = []
    for near in sample.near:
        other = sample.read(near)
        items.append(
            Reviewed(
                "t", {}, said.brief, 0.5, other.brief, False, sample.kind, said.value, other.value
            )
        )
        found = items[-1].compared
        assert bool(found.changes) is (sample.kind != "text"), near
    report = disagreements(items)
    assert (report.items, report.corrected) == (len(items), len(items))


def test_a_change_is_counted_among_the_items_in_which_it_was_possible() -> None:
    # Given 10 items: in 4 the AI says toxic, of which people take 1 back, and in 2 others they say
    # insult, which it overlooked
    def item(said: list[str], final: list[str]) -> Reviewed:
        lines = [", ".join(each) or "(none)" for each in (said, final)]
        return Reviewed(
            "t", {}, lines[0], 0.5, lines[1], False, "labels", {"labels": said}, {"labels": final}
        )

    items = [item(["toxic"], ["toxic"])] * 3 + [item(["toxic"], [])]
    items += [item([], ["insult"])] * 2 + [item([], [])] * 4
    # I expect 1 of the 4, and 2 of all 10.
    found = {group.name: (group.corrected, group.items) for group in disagreements(items).labels}
    assert found == {
        "toxic \u2192 (taken away)": (1, 4),
        "(overlooked) \u2192 insult": (2, 10),
    }


def test_of_what_was_erased_only_that_it_differed_is_counted() -> None:
    erased = Reviewed(None, {}, "(as predicted)", 0.5, "(another answer)", False, "form")
    assert erased.compared == NOTHING
    report = disagreements([erased])
    assert (report.items, report.corrected, list(report.labels)) == (1, 1, [])
