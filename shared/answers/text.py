"""A corrected text."""

import unicodedata
from typing import ClassVar, Self

from shared.answers.base import Answer, AnswerError, AnswerSpec, Asked, Kind, digest, shortened


class TextAnswer(Answer):
    """`{"text": "…"}`; checked: composed (NFC), with newlines as line ends, no blanks around it."""

    kind: ClassVar[Kind] = "text"
    quotes: ClassVar[bool] = True
    text: str

    def checked(self, spec: AnswerSpec, asked: Asked) -> Self:
        lines = self.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
        text = unicodedata.normalize("NFC", lines).strip()
        if not text:
            raise AnswerError("text", "is empty")
        return self.model_copy(update={"text": text})

    @property
    def brief(self) -> str:
        line = " ".join(self.text.split())
        if line == self.text:
            return shortened(line, self.text)
        return shortened(f"{line} #{digest(self.text)}", self.text)
