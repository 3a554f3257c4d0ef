"""Where people correct the AI most: labels, sources, lengths, confidences, words. Pure.

Groups are ranked by the lower end of the interval of their correction rate, so that three
corrections of three do not come before ninety of a hundred.
"""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.feedback.reports.changes import (
    NOTHING,
    OVERLOOKED,
    Change,
    Compared,
    compared,
    of_lines,
)
from shared.answers.base import same_brief
from shared.intervals import Interval, wilson

MAX_VALUES = 20  # a metadata key with more different ones is no source but an id
MAX_GROUPS = 15
MIN_ITEMS = 5  # of a word or a source, to be worth a line
BEYOND_CHANCE = 1.96  # standard errors
PRIOR = 500.0  # pseudo-words; Monroe et al.: of the order of the words of a small group
_LENGTHS = ((10, "up to 10 words"), (25, "11 to 25"), (60, "26 to 60"), (math.inf, "over 60"))
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class Reviewed(NamedTuple):
    """An item that a person decided; `text` is None where it was erased."""

    text: str | None
    metadata: Mapping[str, Any]
    ai_label: str
    confidence: float
    label: str
    on_panel: bool
    kind: str | None = None
    ai_answer: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None

    @property
    def corrected(self) -> bool:
        """Whether the person's label is another one."""
        return not same_brief(self.kind, self.label, self.ai_label)

    @property
    def compared(self) -> Compared:
        """What the AI said, and what of it was changed."""
        if self.kind in (None, "label", "preference"):
            return of_lines(self.ai_label, self.label, corrected=self.corrected)
        if self.ai_answer is None or self.answer is None:
            return NOTHING  # erased: only that they differ is known
        return compared(self.ai_answer, self.answer)


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the items, and how many of them were corrected; the interval is the 95 % one."""

    name: str
    items: int
    corrected: int
    rate: Interval


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the texts. `z`: how much more often it is in corrected texts than in the others,
    in standard errors (below 0: less often). Monroe, Colaresi & Quinn (2008), "Fightin' Words",
    equation 22: log-odds ratio with an informative Dirichlet prior, here all texts' words."""

    word: str
    items: int
    corrected: int
    z: float


@dataclass(slots=True)
class Disagreements:
    """The report. `panel` is about the audit panel only, whose items were drawn at random: its rate
    is that of the whole stream; the other items are mostly those that the AI was unsure of."""

    items: int
    corrected: int
    rate: Interval | None
    panel: Group | None
    labels: Sequence[Group]
    confidences: Sequence[Group]
    lengths: Sequence[Group]
    sources: Mapping[str, Sequence[Group]]
    words: Sequence[Word]

    def sections(self) -> Iterator[tuple[str, Sequence[Group]]]:
        """The groups by what they are groups of; nothing empty."""
        if self.labels:
            yield "AI answer \u2192 corrected to", self.labels
        yield "confidence of the AI", self.confidences
        if self.lengths:
            yield "length", self.lengths
        for key, groups in self.sources.items():
            yield f"metadata {key}", groups


@dataclass(slots=True)
class _Tally:
    items: Counter[str] = field(default_factory=Counter)
    corrected: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, corrected: bool) -> None:
        self.items[name] += 1
        self.corrected[name] += corrected

    def groups(self) -> list[Group]:
        found = []
        for name, items in self.items.items():
            rate = wilson(self.corrected[name], items)
            if rate is not None:
                found.append(Group(name, items, self.corrected[name], rate))
        return sorted(found, key=lambda group: (-group.rate.low, group.name))


def disagreements(reviewed: Iterable[Reviewed]) -> Disagreements:
    """The report over the items, read once; what it holds grows with words, not with items."""
    total, panel, confidences, lengths = (_Tally() for _ in range(4))
    said, changed = Counter[str](), Counter[Change]()
    sources: dict[str, _Tally | None] = defaultdict(_Tally)
    words, heard = _Tally(), {True: Counter[str](), False: Counter[str]()}
    for item in reviewed:
        wrong = item.corrected
        total.add("all", wrong)
        if item.on_panel:
            panel.add("audit panel", wrong)
        of_item = item.compared
        said.update([*of_item.said, OVERLOOKED])  # in any item something may be
        changed.update(of_item.changes)
        confidences.add(_tenth(item.confidence), wrong)
        for key, value in item.metadata.items():
            _add_source(sources, key, value, wrong)
        if item.text is not None:
            text = [word.casefold() for word in _WORD.findall(item.text)]
            lengths.add(next(name for most, name in _LENGTHS if len(text) <= most), wrong)
            heard[wrong].update(text)
            for word in set(text):
                words.add(word, wrong)
    every, order = total.groups(), [name for _, name in _LENGTHS]
    return Disagreements(
        items=total.items["all"],
        corrected=total.corrected["all"],
        rate=every[0].rate if every else None,
        panel=next(iter(panel.groups()), None),
        labels=_changes(said, changed),
        confidences=sorted(confidences.groups(), key=lambda group: group.name),
        lengths=sorted(lengths.groups(), key=lambda group: order.index(group.name)),
        sources={key: kept for key, tally in sorted(sources.items()) if (kept := _kept(tally))},
        words=_words(words, heard),
    )


def _changes(said: Mapping[str, int], changed: Mapping[Change, int]) -> list[Group]:
    """Of the items in which the AI said something, in how many it became what else."""
    found = []
    for change, corrected in changed.items():
        rate = wilson(corrected, said[change.was])
        if rate is not None:
            name = " \u2192 ".join(change)
            found.append(Group(name, said[change.was], corrected, rate))
    return sorted(found, key=lambda group: (-group.rate.low, group.name))


def _add_source(sources: dict[str, _Tally | None], key: str, value: object, wrong: bool) -> None:
    tally = sources[key]
    if tally is None:
        return
    name = json.dumps(value) if isinstance(value, bool | int) else value
    if isinstance(name, str) and len(name) <= 60:
        tally.add(name, wrong)
    if len(tally.items) > MAX_VALUES:
        sources[key] = None  # an id, a time, a name: nothing to group by


def _kept(tally: _Tally | None) -> list[Group]:
    groups = [] if tally is None else tally.groups()
    return [group for group in groups if group.items >= MIN_ITEMS][:MAX_GROUPS]


def _words(tally: _Tally, heard: Mapping[bool, Counter[str]]) -> list[Word]:
    """The words that speak most clearly for a correction, by z."""
    both = heard[True] + heard[False]
    if not heard[True] or not heard[False] or len(both) < 2:
        return []  # nothing to compare
    sizes = {wrong: counts.total() for wrong, counts in heard.items()}
    scale = PRIOR / both.total()
    found = []
    for word, items in tally.items.items():
        if items < MIN_ITEMS:
            continue
        prior = both[word] * scale
        odds = [
            math.log((counts[word] + prior) / (sizes[w] + PRIOR - counts[word] - prior))
            for w, counts in heard.items()
        ]
        variance = sum(1 / (counts[word] + prior) for counts in heard.values())
        z = (odds[0] - odds[1]) / math.sqrt(variance)
        found.append(Word(word, items, tally.corrected[word], z))
    found.sort(key=lambda each: (-each.z, each.word))
    return [each for each in found[:MAX_GROUPS] if each.z > BEYOND_CHANCE]


def _tenth(confidence: float) -> str:
    low = min(int(confidence * 20), 19) / 20
    return f"{low:.2f} to {low + 0.05:.2f}"
