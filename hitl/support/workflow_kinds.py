"""What the file of a new workflow says where the kinds of answers differ: its keys, and what a
policy can ask of them.

Each text is lines of a TOML file; `$name`, `$labels`, `$label`, `$key` and `$model` are filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.answers.base import Kind

_NO_MODEL = """\
model = "none"                # predictions come with the items, or there are none: people decide
"""
_MODEL = """\
${model}# "none": predictions come with the items, if at all; or a hub id, or
                              # a folder with a transformers model"""
_BROUGHT = """\
producer_predictions = false  # with a model: does what an item brings count before its?
"""
_TRUNCATED = """\
accept_truncated = false      # may the machine decide on a text that it has not read to its end?
"""


@dataclass(frozen=True)
class Scaffold:
    """`keys`: of `[workflow]`, after the name; `restart`: those of them that take one;
    `means`: what a guideline should say first; `names`: what `always_review` can name;
    `thresholds`: the table of single names, if any; `rule`: name, conditions and reason of the
    example of one; `conditions`: those on the answer."""

    title: str
    keys: str
    names: str
    thresholds: str
    rule: tuple[str, str, str]
    conditions: str
    means: str = "what each label means"
    restart: str = "answer, labels and model"
    truncated: str = ""
    labels: tuple[str, ...] = ()
    """To begin with, where nobody says which."""
    schema: Mapping[str, Any] = field(default_factory=dict)
    """Of a form, to begin with."""

    @property
    def has_labels(self) -> bool:
        return "$labels" in self.keys


def _thresholds(what: str, example: str) -> str:
    return f"\n{'[policy.label_thresholds]'.ljust(30)}# {what}\n# {example} = 0.9\n"


_OF_A_LABEL = "a label may ask for more (or less) than the threshold"
_OF_A_PART = "with the parts of a prediction: a name may ask for more, or less"

SCAFFOLDS: dict[Kind, Scaffold] = {
    "label": Scaffold(
        title="which of its labels has a text?",
        keys="""\
labels = [$labels]
${model}# or a hub id, or a folder with a transformers model
""",
        restart="labels and model",
        names="labels that always go to people",
        truncated=_TRUNCATED,
        thresholds=_thresholds(_OF_A_LABEL, "$key"),
        rule=(
            "refunds",
            'label = $label, metadata = { channel = "support" }, text_matches = "(?i)refund"',
            "refund requests go to the support team",
        ),
        conditions="#   ${condition}or a list of labels\n",
    ),
    "labels": Scaffold(
        title="which of its labels has a text, none or several?",
        keys=f"""\
answer = "labels"             # any number of them, none too
labels = [$labels]
{_MODEL} for several labels
{_BROUGHT}""",
        labels=("toxic", "insult", "threat"),
        names="labels that always go to people",
        truncated=_TRUNCATED,
        thresholds=_thresholds(_OF_A_PART, "$key"),
        rule=(
            "by mail",
            'labels_any = [$label], metadata = { channel = "mail" }',
            "what comes by mail goes to the support team",
        ),
        conditions="""\
#   labels_any = [$labels]       one of them is predicted
#   labels_none = [$label]                    none of these is
""",
    ),
    "spans": Scaffold(
        title="what is where in a text?",
        keys=f"""\
answer = "spans"              # labelled places in the text
labels = [$labels]
overlap = false               # may two of them share characters?
{_MODEL} that labels words
{_BROUGHT}""",
        labels=("PER", "ORG", "LOC"),
        names="an answer with a span of these labels always goes to people",
        truncated=_TRUNCATED,
        thresholds=_thresholds(_OF_A_PART, "$key"),
        rule=(
            "by mail",
            'span_labels = [$label], metadata = { channel = "mail" }',
            "what comes by mail goes to the support team",
        ),
        conditions="""\
#   span_labels = [$label]                    a span of one of them is predicted
""",
    ),
    "form": Scaffold(
        title="what do its fields say of a text?",
        keys=f"""\
answer = "form"               # fields, as a JSON Schema says
schema = "$name.schema.json"
{_NO_MODEL}""",
        means="what each field holds",
        restart="answer and schema",
        names="paths of fields: an answer that has one always goes to people",
        thresholds=_thresholds("of a field, where a prediction says its parts", "total"),
        rule=(
            "large",
            "field = { total = { gt = 1000 } }",
            "large sums are looked at",
        ),
        conditions="""\
#   field = { total = { gt = 1000 } }         of the predicted form, like metadata below
#   field = { lines.0.amount = 10 }           a path
""",
        schema={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {
                "number": {"type": "string", "title": "Number", "description": "As printed."},
                "total": {"type": "number", "title": "Total", "minimum": 0},
                "currency": {"enum": ["EUR", "GBP", "USD"], "title": "Currency"},
                "paid": {"type": "boolean", "title": "Is it paid?"},
                "lines": {
                    "type": "array",
                    "title": "Lines",
                    "items": {
                        "type": "object",
                        "properties": {
                            "what": {"type": "string", "title": "What"},
                            "amount": {"type": "number", "title": "Amount"},
                        },
                        "required": ["what", "amount"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["total"],
            "additionalProperties": False,
        },
    ),
    "text": Scaffold(
        title="what should a draft say?",
        keys=f"""\
answer = "text"               # an item brings the draft that is to be made good
{_NO_MODEL}""",
        means="what a good text is",
        restart="answer",
        names="of a text nothing can be named: leave it",
        thresholds="",
        rule=(
            "long",
            "min_characters = 2000",
            "long texts are looked at",
        ),
        conditions="",
    ),
    "preference": Scaffold(
        title="which of the texts is better?",
        keys=f"""\
answer = "preference"         # an item brings the candidates: two texts or more
{_NO_MODEL}""",
        means="what makes a text better",
        restart="answer",
        names='"candidate 1", "candidate 2", …, "tie": these always go to people',
        thresholds=_thresholds("an answer may ask for more (or less) than the threshold", "tie"),
        rule=(
            "by mail",
            'metadata = { channel = "mail" }',
            "what comes by mail goes to the support team",
        ),
        conditions="",
    ),
    "approval": Scaffold(
        title="may a program do what it wants to?",
        keys=f"""\
answer = "approval"           # an item brings the action: a name and arguments
# schema = "$name.schema.json"   # a JSON Schema for the arguments that are to be used
{_NO_MODEL}""",
        means="what may be done",
        restart="answer and schema",
        names='"approve", "reject": a prediction of these always goes to people',
        thresholds=_thresholds(
            "a verdict may ask for more (or less) than the threshold", "approve"
        ),
        rule=(
            "large",
            'action = "refund", argument = { amount = { ge = 50 } }',
            "large refunds are looked at",
        ),
        conditions="""\
#   action = "refund"                         or a list of names
#   argument = { amount = { lt = 50 } }       of the action, like metadata below; then = "accept"
#                                             needs no prediction
""",
    ),
}
