"""Labelled places in the text."""

from itertools import pairwise
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind, shortened
from shared.answers.label import known_label

NONE = "(no spans)"


class Span(BaseModel):
    """`text[start:end]`, counted in Unicode code points, `end` exclusive."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    start: int
    end: int
    label: str

    @property
    def order(self) -> tuple[int, int, str]:
        """Where it stands among the others."""
        return self.start, self.end, self.label


class SpansAnswer(Answer):
    """`{"spans": [{"start": 0, "end": 5, "label": "PER"}]}`; checked: sorted, within the text."""

    kind: ClassVar[Kind] = "spans"
    spans: tuple[Span, ...]

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        found = []
        for place, span in enumerate(self.spans):
            field = f"spans[{place}]"
            if not 0 <= span.start < span.end:
                raise AnswerError(
                    field, f"start {span.start} must be from 0 and below end {span.end}"
                )
            if span.end > len(asked.text):
                raise AnswerError(
                    field, f"end {span.end} is outside of the text of {len(asked.text)} code points"
                )
            label = known_label(f"{field}.label", span.label, spec)
            found.append(span.model_copy(update={"label": label}))
        found.sort(key=lambda span: span.order)
        for one, other in pairwise(found):
            if one == other:
                raise AnswerError("spans", f"{_words(one)} is there twice")
            if not spec.overlap and other.start < one.end:
                raise AnswerError("spans", f"{_words(one)} and {_words(other)} overlap")
        return self.model_copy(update={"spans": tuple(found)})

    @property
    def brief(self) -> str:
        listed = ", ".join(map(_words, self.spans))
        return shortened(listed, [span.order for span in self.spans]) if listed else NONE

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(span.label for span in self.spans))


def _words(span: Span) -> str:
    label = repr(span.label) if "," in span.label else span.label
    return f"{label} {span.start}–{span.end}"  # noqa: RUF001 - a range
