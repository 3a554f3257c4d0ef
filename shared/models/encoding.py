"""A text's tokens, where the tokenizer may have none for it.

A vocabulary without an entry for the unknown makes `tokenizers` raise its one kind of error, a bare
Exception, in the place of an answer.
"""

from tokenizers import Encoding, Tokenizer


def encoding(tokenizer: Tokenizer, text: str, *, framed: bool = True) -> Encoding | None:
    """With the template around it, or without; None where a part of the text has no token."""
    try:
        return tokenizer.encode(text, add_special_tokens=framed)
    except Exception:
        return None


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text's own tokens; none where a part of it has no token."""
    row = encoding(tokenizer, text, framed=False)
    return [] if row is None else row.ids
