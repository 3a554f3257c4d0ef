"""Do acks and confirms add up, in whatever order the broker answers?"""

import time

from hypothesis import given
from hypothesis import strategies as st

from shared.messages import Outgoing
from shared.messaging.confirms import AckWindow, Confirms, Group, Publication


def publication(name: str = "m") -> Publication:
    group = Group(1, started=time.monotonic())
    return Publication(Outgoing("e", "k", b"{}", name), group)


@given(st.permutations(range(1, 20)))
def test_a_delivery_is_acked_only_when_all_before_it_are_settled(order: list[int]) -> None:
    window = AckWindow()
    window.delivered(range(1, 8))
    window.delivered(range(8, 20))
    settled: set[int] = set()
    last = 0
    for tag in order:
        window.resolve_tag(tag)
        settled.add(tag)
        acked = window.advance()
        if acked is not None:
            assert acked > last, "never the same tag twice"
            last = acked
        assert set(range(1, last + 1)) <= settled
        assert last + 1 not in settled, "the ack goes as far as it can"
    assert last == 19
    assert len(window) == 0


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=60))
def test_each_publication_is_answered_once_however_confirms_arrive(
    answers: list[tuple[int, bool]],
) -> None:
    confirms = Confirms()
    sent = [publication(str(number)) for number in range(30)]
    for one in sent:
        confirms.sent([one])
    answered: list[Publication] = []
    for tag, multiple in answers:
        found = confirms.answered(tag, multiple=multiple)
        if multiple:
            assert all(one in found or one in answered for one in sent[:tag])
        answered += found
    left = confirms.abandon()
    assert len(answered) + len(left) == 30
    assert {id(one) for one in [*answered, *left]} == {id(one) for one in sent}


def test_a_return_marks_the_very_message_that_came_back() -> None:
    confirms = Confirms()
    first, second = publication("a"), publication("b")
    confirms.sent([first, second])
    assert confirms.mark_returned("e", "k", "b", b"{}")
    assert (first.returned, second.returned) == (False, True)
    assert not confirms.mark_returned("e", "other", "a", b"{}")


def test_a_group_is_done_with_its_last_message() -> None:
    group = Group(2, started=0.0)
    one, two = (Publication(Outgoing("e", "k", b"", x), group) for x in "ab")
    assert not one.confirmed()
    assert two.confirmed()
