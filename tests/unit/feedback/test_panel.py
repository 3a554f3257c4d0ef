"""Which labels of the panel count, and is what is doubtful on the safe side?"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.certificate.panel import Answer, Matured, PanelItem, mature, resolution

START = datetime(2026, 3, 1, tzinfo=UTC)
SLA = timedelta(hours=72)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def item(
    number: int,
    *,
    label: str | None = "positive",
    after: float = 1.0,
    text: str | None = "",
    hour: float | None = None,
) -> PanelItem:
    """The item routed in that hour, labelled `after` so many more."""
    routed = at(number if hour is None else hour)
    return PanelItem(
        item_id=f"item-{number:04}",
        routed_at=routed,
        score=0.9,
        would_accept=True,
        eligible=True,
        ai_label="positive",
        model_version="m@1",
        text_digest=None if text is None else (text or str(number)).encode(),
        resolved_at=None if label is None else routed + timedelta(hours=after),
        label=label,
    )


def numbers(matured: Matured) -> list[int]:
    return [int(each.item_id[-4:]) for each in matured.items]


def test_labels_count_in_the_order_of_the_routing_whenever_they_came() -> None:
    # Given that the first item took longest, and rows in any order
    rows = [item(2), item(0, label="negative", after=30), item(1, after=2)]
    matured = mature(rows, at(40), SLA)
    assert numbers(matured) == [0, 1, 2]
    assert matured.errors.tolist() == [True, False, False]
    # I expect a watermark as new as the log allows: nothing waits.
    assert matured.watermark == at(40) - timedelta(seconds=10)
    assert (matured.waiting, matured.held, matured.overdue) == (0, 0, 0)


def test_items_routed_in_one_batch_count_in_the_order_of_their_draw() -> None:
    # Given items of two senders, routed at the same moment: their ids tell the senders apart
    rows = [
        replace(item(number, hour=0), item_id=f"{sender}-{number:04}", u=u)
        for number, (sender, u) in enumerate([("a", 0.03), ("a", 0.01), ("b", 0.04), ("b", 0.02)])
    ]
    # I expect the panel's own numbers to say who comes first: they know nothing of the sender.
    assert numbers(mature(rows, at(40), SLA)) == [1, 3, 0, 2]


def test_the_first_item_that_waits_stops_all_later_ones() -> None:
    rows = [item(0), item(1, label=None), item(2), item(3)]
    matured = mature(rows, at(40), SLA)
    assert numbers(matured) == [0]
    assert matured.watermark == at(1)
    assert (matured.waiting, matured.held) == (1, 2)


def test_an_item_that_nobody_resolved_in_time_is_an_error_and_stops_nothing() -> None:
    rows = [item(0, label=None), item(1)]
    assert numbers(mature(rows, at(72), SLA)) == []
    matured = mature(rows, at(72.1), SLA)
    assert numbers(matured) == [0, 1]
    assert matured.errors.tolist() == [True, False]
    assert matured.overdue == 1


def test_a_right_label_that_comes_a_month_late_stays_an_error() -> None:
    rows = [item(0, after=24 * 30), item(1)]
    matured = mature(rows, at(24 * 31), SLA)
    assert matured.errors.tolist() == [True, False]
    assert matured.overdue == 1
    # In time, to the microsecond, it counts.
    assert not mature([item(0, after=72)], at(100), SLA).errors.any()
    # An overdue item counts as the error that it is already before its label comes.
    assert mature([replace(item(0), resolved_at=None, label=None)], at(100), SLA).errors.all()


def test_items_that_the_score_alone_could_never_accept_do_not_count_and_stop_nothing() -> None:
    rule = replace(item(0, label=None), eligible=False)
    matured = mature([rule, item(1)], at(40), SLA)
    assert numbers(matured) == [1]
    assert matured.watermark == at(40) - timedelta(seconds=10)


def test_of_the_same_text_the_first_counts() -> None:
    # Given a text sent three times, the first of which the AI got wrong
    rows = [
        item(0, label="negative", text="twice"),
        item(1, text="twice"),
        item(2, text="other"),
        item(3, label=None, text="twice"),
    ]
    matured = mature(rows, at(40), SLA)
    # I expect it once; its copies add nothing and nobody waits for their labels.
    assert numbers(matured) == [0, 2]
    assert matured.errors.tolist() == [True, False]
    assert matured.duplicates == 2
    assert matured.watermark == at(40) - timedelta(seconds=10)


def test_an_erased_text_counts_against_the_machine_only() -> None:
    # Given erased texts, which could be copies of one another
    rows = [item(0, text=None), item(1, text=None, label="negative"), item(2, text=None)]
    matured = mature(rows, at(40), SLA)
    # I expect no evidence from those that were right, and an error to stay.
    assert numbers(matured) == [1]
    assert matured.errors.tolist() == [True]
    assert matured.erased == 2


def test_the_watermark_never_passes_what_the_logger_may_not_have_written_yet() -> None:
    rows = [item(0), item(1), item(39)]
    # Given a logger whose newest event is of hour 1 and 5 seconds: it may be behind
    behind = at(1) + timedelta(seconds=5)
    matured = mature(rows, at(1) + timedelta(seconds=30), SLA, behind)
    assert numbers(matured) == [0]
    assert matured.watermark == behind - timedelta(seconds=10)
    # With its newest event ten seconds later it counts.
    assert numbers(mature(rows, at(1.2), SLA, at(1) + timedelta(seconds=10))) == [0, 1]
    # In a quiet hour no news is good news after ten minutes.
    assert numbers(mature(rows, at(1.5), SLA, behind)) == [0, 1]
    # An event from the future (a clock that is ahead) moves nothing past now.
    assert mature(rows, at(2), SLA, at(50)).watermark == at(2) - timedelta(seconds=10)


def test_no_item_has_no_watermark() -> None:
    matured = mature([], at(1), SLA)
    assert matured.watermark is None
    assert len(matured.errors) == len(matured.scores) == 0


def test_the_monitor_hears_only_of_what_the_machine_would_have_accepted() -> None:
    rows = [item(0, label="negative"), replace(item(1, label="negative"), would_accept=False)]
    assert mature(rows, at(40), SLA).accepted_errors == [True]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 100),  # routed in this hour
            st.sampled_from(["positive", "negative", None]),
            st.integers(0, 100),  # hours until the label
            st.sampled_from(["a", "b", "c", "", None]),
        ),
        max_size=12,
    ),
    st.integers(0, 200),
)
def test_what_has_counted_once_counts_the_same_at_every_later_look(
    rows: Sequence[tuple[int, str | None, int, str | None]], look: int
) -> None:
    # Given any panel, as it was known at one time and at a later one
    items = [
        item(number, hour=hour, label=label, after=after, text=text)
        for number, (hour, label, after, text) in enumerate(rows)
    ]

    def known(now: datetime) -> list[PanelItem]:
        return [
            each
            if each.resolved_at is not None and each.resolved_at <= now
            else replace(each, resolved_at=None, label=None)
            for each in items
            if each.routed_at <= now
        ]

    earlier = mature(known(at(look)), at(look), SLA)
    later = mature(known(at(look + 30)), at(look + 30), SLA)
    # I expect the earlier labels to be the first of the later ones: the look changes nothing.
    assert numbers(later)[: len(earlier.items)] == numbers(earlier)
    assert later.errors.tolist()[: len(earlier.items)] == earlier.errors.tolist()


def answer(
    revision: int, hours: float, label: str = "positive", shown: bool = False, settled: bool = False
) -> Answer:
    return Answer(revision, at(hours), label, shown, settled)


@pytest.mark.parametrize(
    ("answers", "chosen"),
    [
        ([], None),
        ([answer(1, 1)], 1),
        ([answer(1, 1), answer(2, 5, settled=True, shown=True)], 2),  # reopened, in time
        ([answer(1, 1), answer(2, 80, settled=True, shown=True)], 1),  # reopened too late
        ([answer(2, 90, settled=True), answer(1, 80)], 1),  # all too late: the first
        ([answer(1, 1, shown=True)], None),  # an audit is blind
        ([answer(1, 1), answer(2, 2, shown=True)], 1),
        ([answer(1, 1, shown=True, settled=True)], 1),  # whoever settles sees both answers
    ],
)
def test_the_last_revision_within_the_sla_is_the_label(
    answers: list[Answer], chosen: int | None
) -> None:
    found = resolution(answers, at(0), SLA)
    assert (found.revision if found else None) == chosen
