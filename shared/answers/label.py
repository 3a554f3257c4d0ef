"""One label of the whole text."""

from typing import ClassVar, Self

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind
from shared.labels import known_as, spelled


class LabelAnswer(Answer):
    """`{"label": "positive"}`."""

    kind: ClassVar[Kind] = "label"
    label: str

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        return self.model_copy(update={"label": known_label("label", self.label, spec)})

    @property
    def brief(self) -> str:
        return self.label

    @property
    def names(self) -> tuple[str, ...]:
        return (self.label,)


def known_label(field: str, label: str, spec: AnswerSpec) -> str:
    """The workflow's spelling of a label.

    Raises:
        AnswerError: it is none of the workflow's, or blank.
    """
    known = known_as(label, spec.labels) if spec.labels else spelled(label)
    if known is None:
        which = f"; the workflow has {', '.join(spec.labels)}" if spec.labels else ""
        raise AnswerError(field, f"no such label: {label[:60]!r}{which}")
    return known
