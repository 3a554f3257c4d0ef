"""Is the walk of a message in CONTRIBUTING.md the one that messages take?"""

import pytest

from shared.messaging.confirms import AckWindow
from shared.messaging.consumer import Consumer
from tests.support.message_walk import ARROWS, PAGE, PARTS, Arrow, Stale, check, render, written


def test_the_picture_is_the_one_that_the_code_gives() -> None:
    # I expect it to be what `python -m tests.support.message_walk` writes
    assert written(PAGE.read_text(encoding="utf-8")) == render()


def test_every_step_is_on_the_way() -> None:
    steps = {step for part in PARTS for step in part.steps}
    assert steps == {step for arrow in ARROWS for step in (arrow.first, arrow.then)}


def test_an_arrow_that_the_code_does_not_have_is_refused() -> None:
    # Given a step that is said to call one that it does not / I expect to be told which
    with pytest.raises(Stale, match=r"Consumer\._arrive no longer calls advance"):
        check((Arrow(Consumer._arrive, AckWindow.advance),))
