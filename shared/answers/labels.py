"""A set of labels of the whole text; none is an answer, too."""

from typing import ClassVar, Self

from shared.answers.base import Answer, AnswerSpec, Asked, Kind, shortened
from shared.answers.label import known_label

NONE = "(none)"


class LabelsAnswer(Answer):
    """`{"labels": ["insult", "toxic"]}`; checked: in the workflow's order, none twice."""

    kind: ClassVar[Kind] = "labels"
    labels: tuple[str, ...]

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        found = {
            known_label(f"labels[{place}]", label, spec) for place, label in enumerate(self.labels)
        }
        order = spec.labels or sorted(found)
        return self.model_copy(update={"labels": tuple(label for label in order if label in found)})

    @property
    def brief(self) -> str:
        # A comma in a label would make two answers look alike.
        quoted = [repr(label) if set(label) & set(",'\"") else label for label in self.labels]
        return shortened(", ".join(quoted), self.labels) if quoted else NONE

    @property
    def names(self) -> tuple[str, ...]:
        return self.labels
