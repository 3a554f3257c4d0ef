"""What a model is loaded for: the kind of its answers, their labels, how it is asked for them."""

from dataclasses import dataclass

from shared.answers.base import Kind


@dataclass(frozen=True)
class Task:
    """`labels` None: the model's own, in its order. With a `hypothesis` the model judges whether a
    text entails it with a label in the place of `{}`, and has no labels itself."""

    answers: Kind = "label"
    labels: tuple[str, ...] | None = None
    hypothesis: str = ""

    @property
    def hypotheses(self) -> tuple[str, ...]:
        """One for each label; none where the model has the labels itself."""
        if not self.hypothesis:
            return ()
        return tuple(self.hypothesis.replace("{}", label) for label in self.labels or ())


LABEL = Task()
