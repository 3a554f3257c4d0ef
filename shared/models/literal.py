"""Makes a tokenizer read a user's text as text: nobody types a special token.

`</s>`, `[SEP]` or `<|endoftext|>` in a text would else end it, cut it in two or count as padding: a
person could make an item unscorable. transformers' own pipeline does read them so.
"""

import json
import secrets
from collections.abc import Iterable

from tokenizers import Encoding, Tokenizer

from shared.errors import ConfigurationError

# What no text can hold: a renamed piece of the vocabulary ends in this and in random digits.
_NO_CHARACTER = "\U0010ffff"


def literal(tokenizer: Tokenizer, special: Iterable[str] = ()) -> Tokenizer:
    """The same tokenizer, for which special tokens are words like others; only its template still
    puts them around a text. `special` names those that are not marked as such in the file.

    Raises:
        ConfigurationError: some special token can still be typed.
    """
    tokenizer.encode_special_tokens = True  # those that are marked are not looked for any more
    marked = {t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special}
    framed = tokenizer.encode("")  # what the template adds, marked or not
    names = {n for n in {*marked, *special, *framed.tokens} - _unknown(tokenizer) if not _word(n)}
    typable = _typable(tokenizer, names)
    if not typable:
        return tokenizer
    # Unigram, and whatever looks whole words up, still finds them in the vocabulary itself.
    made = _renamed(tokenizer, typable)
    made.encode_special_tokens = True
    if left := _typable(made, typable):
        raise ConfigurationError(f"a text may hold the special tokens {', '.join(sorted(left))}")
    return made


def may_be_in_a_text(tokenizer: Tokenizer, name: str) -> bool:
    """Whether a text that a `literal` tokenizer reads may come to have the token `name`."""
    return _word(name) or name in _unknown(tokenizer)


def _word(name: str) -> bool:
    """Where "!" or "pad" is the padding, it is a word of the language all the same."""
    return len(name) == 1 or name.isalnum()


def _unknown(tokenizer: Tokenizer) -> set[str]:
    """What stands for an unknown word: any text may hold it."""
    name = getattr(tokenizer.model, "unk_token", None)
    number = getattr(tokenizer.model, "unk_id", None)
    found = name if number is None else tokenizer.id_to_token(number)
    return {str(found)} if found is not None else set()


def _typable(tokenizer: Tokenizer, names: set[str]) -> set[str]:
    found = set()
    for name in names:
        number = tokenizer.token_to_id(name)
        if any(number in encoded(tokenizer, t) for t in (name, f"a{name}a", f"a {name} a")):
            found.add(name)
    return found


def _renamed(tokenizer: Tokenizer, names: set[str]) -> Tokenizer:
    """With other names for some pieces, under the same ids."""
    told = json.loads(tokenizer.to_str())
    tail = _NO_CHARACTER + secrets.token_hex(16)
    model = told["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        inside = names & vocabulary.keys()
        model["vocab"] = {
            name + tail if name in inside else name: number for name, number in vocabulary.items()
        }
    else:
        inside = names & {name for name, _ in vocabulary}
        model["vocab"] = [
            [name + tail if name in inside else name, score] for name, score in vocabulary
        ]
    if "merges" in model:
        pairs = [(m, m.split(" ", 1) if isinstance(m, str) else m) for m in model["merges"]]
        model["merges"] = [m for m, p in pairs if not {*p, "".join(p)} & inside]
    told["added_tokens"] = [
        {**token, "special": token["special"] or token["content"] in names}
        for token in told["added_tokens"]
        if token["content"] not in inside
    ]
    return Tokenizer.from_str(json.dumps(told))


def encoding(
    tokenizer: Tokenizer, text: str, second: str | None = None, *, framed: bool = True
) -> Encoding | None:
    """A text's tokens, or those of a pair, with the template around them or without; None where a
    part of it has none: without an entry for the unknown, `tokenizers` raises its one kind of
    error, a bare Exception.
    """
    try:
        return tokenizer.encode(text, second, add_special_tokens=framed)
    except Exception:
        return None


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """The text's own tokens; none where a part of it has no token."""
    row = encoding(tokenizer, text, framed=False)
    return [] if row is None else row.ids
