"""The approval of an action that a program wants to take."""

from typing import ClassVar, Literal, Self, get_args

from pydantic import JsonValue

from shared.answers.base import Action, Answer, AnswerSpec, Asked, Kind, digest
from shared.answers.form import check_schema

Verdict = Literal["approve", "reject"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class ApprovalAnswer(Answer):
    """`{"verdict": "approve", "arguments": {…}, "reply": "…"}`: `arguments` are those to use,
    edited or not; checked: those of the action where none are given."""

    kind: ClassVar[Kind] = "approval"
    quotes: ClassVar[bool] = True
    verdict: Verdict
    arguments: dict[str, JsonValue] | None = None
    reply: str | None = None

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        arguments = self.arguments
        if arguments is None:
            arguments = asked.action.arguments if asked.action else {}
        if self.verdict == "approve":
            check_schema("arguments", arguments, spec)
        return self.model_copy(update={"arguments": arguments})

    @property
    def brief(self) -> str:
        return f"{self.verdict} #{digest([self.arguments, self.reply])}"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.verdict,)


def approved(action: Action) -> ApprovalAnswer:
    """The yes to an action as it stands."""
    return ApprovalAnswer(verdict="approve", arguments=action.arguments)
