"""Which of several texts is better, or none of them."""

from typing import ClassVar, Self

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind

TIE = "tie"


class PreferenceAnswer(Answer):
    """`{"preferred": 0}`: the candidate at this index; null for a tie."""

    kind: ClassVar[Kind] = "preference"
    preferred: int | None

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        count = len(asked.candidates)
        if self.preferred is not None and not 0 <= self.preferred < count:
            raise AnswerError(
                "preferred", f"must be null or from 0 to {count - 1}, not {self.preferred}"
            )
        return self

    @property
    def brief(self) -> str:
        return TIE if self.preferred is None else f"candidate {self.preferred + 1}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.brief,)
