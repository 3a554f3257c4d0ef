"""Tags of tokens and what they say: a label, and whether it begins or ends there.

IOB1, IOB2, IOBES (also BILOU's letters) and plain tags. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import ConfigurationError
from shared.labels import label_key, same_label

OUTSIDE = "O"
_ENDS = ("E-", "L-")
_SINGLE = ("S-", "U-")


@dataclass(frozen=True, slots=True)
class Tag:
    """`label` None: outside of every span. `begins`: not part of the span before it; `ends`: what
    follows is not part of its span."""

    label: str | None
    begins: bool = False
    ends: bool = False


def read_tags(names: Sequence[str], labels: Sequence[str]) -> tuple[Tag, ...]:
    """What the names of a model's classes mean, in the spelling of `labels`.

    `B-` and `I-` are prefixes wherever they stand, the others only of a label that has a `B-`, too:
    a label may be called E-mail.

    Raises:
        ConfigurationError: these are not the labels that the tags are of.
    """
    begun = {label_key(name[2:]) for name in names if name.startswith("B-")}
    read = [_read(name, begun) for name in names]
    found = list(dict.fromkeys(label_key(tag.label) for tag in read if tag.label is not None))
    spelled = {label_key(label): label for label in labels}
    if sorted(found) != sorted(spelled):
        own = dict.fromkeys(tag.label for tag in read if tag.label is not None)
        raise ConfigurationError(
            f"the model tags {', '.join(own) or 'nothing'}, the workflow has the labels "
            f"{', '.join(labels)}: use the model's labels in the workflow"
        )
    return tuple(
        Tag(None if tag.label is None else spelled[label_key(tag.label)], tag.begins, tag.ends)
        for tag in read
    )


def _read(name: str, begun: set[str]) -> Tag:
    if same_label(name, OUTSIDE):
        return Tag(None)
    prefix, rest = name[:2], name[2:]
    if not rest or prefix not in ("B-", "I-", *_ENDS, *_SINGLE):
        return Tag(name)
    if prefix in ("B-", "I-"):
        return Tag(rest, begins=prefix == "B-")
    if label_key(rest) not in begun:
        return Tag(name)
    return Tag(rest, begins=prefix in _SINGLE, ends=True)


def runs(tags: Sequence[Tag]) -> list[tuple[int, int, str]]:
    """The spans of consecutive tags: (first, end, label), `end` exclusive. One begins where a tag
    says so, where the label changes, and behind one that ended."""
    found: list[tuple[int, int, str]] = []
    start = 0
    before = Tag(None)
    for place, tag in enumerate((*tags, Tag(None))):
        if tag.label == before.label and not tag.begins and not before.ends:
            before = tag
            continue
        if before.label is not None:
            found.append((start, place, before.label))
        start, before = place, tag
    return found
