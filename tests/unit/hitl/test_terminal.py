"""Does what others wrote stay text on the terminal?"""

from hitl.support.tail import as_text
from hitl.support.terminal import printable
from tests.support.example_events import REVIEWED

HOSTILE = "a\x1b]52;c;eA==\x07b\x9b2Jc\u202ed"


def test_nothing_that_is_followed_speaks_to_the_terminal() -> None:
    # Given a decision whose text, label and reviewer hold what a terminal would obey
    item = REVIEWED.item.model_copy(update={"text": HOSTILE})
    decision = REVIEWED.decision.model_copy(update={"label": "l\x1b[8m", "reviewer": "r\x1b[8m"})
    # If it is shown, I expect signs in their place, and the rest as it was
    shown = as_text(REVIEWED.model_copy(update={"item": item, "decision": decision})).plain
    assert all(one.isprintable() for one in shown), repr(shown)
    for kept in ("a\ufffd]52;c;eA==\ufffdb\ufffd2Jc\ufffdd", "l\ufffd[8m", "r\ufffd[8m"):
        assert kept in shown


def test_what_joins_letters_and_emojis_stays() -> None:
    assert printable("👩\u200d🚀 a\u200cb") == "👩\u200d🚀 a\u200cb"
