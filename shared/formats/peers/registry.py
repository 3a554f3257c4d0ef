"""Which formats of other tools there are, and what each has words for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from shared.answers.base import Kind
from shared.formats.example import Example, Found, Reading, Unsayable
from shared.formats.peers import conll, doccano, label_studio, prodigy

PeerFormat = Literal["label-studio", "doccano", "prodigy", "conll"]


class Peer(NamedTuple):
    """A format: the kinds of answers that it says, what it calls a record, its writer and its
    reader, which takes a whole file."""

    says: frozenset[Kind]
    record: str
    write: Callable[[Iterable[Example]], Iterator[str]]
    read: Callable[[bytes, Reading], Iterator[Found]]


PEERS: Mapping[PeerFormat, Peer] = {
    "label-studio": Peer(
        label_studio.SAYS, label_studio.RECORD, label_studio.write, label_studio.read
    ),
    "doccano": Peer(doccano.SAYS, doccano.RECORD, doccano.write, doccano.read),
    "prodigy": Peer(prodigy.SAYS, prodigy.RECORD, prodigy.write, prodigy.read),
    "conll": Peer(conll.SAYS, conll.RECORD, conll.write, conll.read),
}


def written(examples: Iterable[Example], form: PeerFormat) -> Iterator[str]:
    """The examples, all of one kind, as a file of this format, in pieces.

    Raises:
        Unsayable: the format has no words for one of them.
    """
    return PEERS[form].write(_sayable(examples, form))


def _sayable(examples: Iterable[Example], form: PeerFormat) -> Iterator[Example]:
    first: Kind | None = None
    for example in examples:
        first = first or example.kind
        if example.kind != first:
            raise Unsayable(
                f"{example.name}: a {example.kind} answer, and the first was of {first}: a "
                f"{form} file has one kind, so choose a --workflow"
            )
        if example.kind not in PEERS[form].says:
            raise Unsayable(
                f"{example.name}: {form} has no words for a {example.kind} answer; it says "
                f"{', '.join(sorted(PEERS[form].says))}"
            )
        yield example
