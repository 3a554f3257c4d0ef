"""Is a short string that is not UTF-8 still a short string, and no other one's text?"""

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.messages import SHORT_BYTES, short_text

SHORT = st.binary(max_size=SHORT_BYTES)


@given(SHORT, SHORT)
@example(b"\xff\x01", b"\xfe\x01")
@example(b"\xff" * 255, b"\xff" * 254)
def test_two_short_strings_are_two_texts_that_can_be_sent_again(one: bytes, other: bytes) -> None:
    # Given what somebody else's client has sent, and nobody who spells out bytes; if it is read
    assume(b"\\x" not in one + other)
    texts = {short_text(one), short_text(other)}
    # I expect as many texts as there were strings, each as short as a copy's must be
    assert len(texts) == len({one, other})
    assert all(len(text.encode()) <= SHORT_BYTES for text in texts)


def test_what_is_utf_8_stays_as_it_is() -> None:
    assert short_text("日本".encode()) == short_text("日本") == "日本"
