"""Do rules, thresholds and the approval of actions mean what they say, for each kind of answer?"""

import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.router.policy import Policy
from services.router.route import Route, route
from shared.answers.base import Action, AnswerSpec, Kind
from shared.errors import ConfigurationError
from shared.events.answered import AnswerItem, AnswerPrediction

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = "Peter of ACME owes 120 euros."
LABELS: dict[str, tuple[str, ...]] = {
    "label": ("negative", "positive"),
    "labels": ("toxic", "insult", "threat"),
    "spans": ("PER", "ORG"),
}
REFUND = Action(
    name="refund", arguments={"amount": 30, "to": {"country": "AT"}, "lines": [{"n": 2}]}
)
INSULT = {"labels": ["insult"]}
PERSON = {"spans": [{"start": 0, "end": 5, "label": "PER"}]}
INVOICE = {"form": {"total": 1200, "currency": "EUR", "lines": [{"amount": 7.5}], "note": None}}
APPROVED = {"verdict": "approve", "arguments": REFUND.arguments}


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "currency": {"enum": ["EUR", "USD"]},
        "paid": {"type": "boolean"},
        "payee": {"type": "string"},
        "to": {"$ref": "#/$defs/address"},
        "lines": {"type": "array", "items": {"properties": {"n": {"type": ["integer", "null"]}}}},
    },
    "additionalProperties": False,
    "$defs": {
        "address": {
            "type": "object",
            "properties": {"country": {"type": "string"}},
            "additionalProperties": False,
        }
    },
}


def policy(kind: Kind, toml: str, schema: dict[str, Any] | None = None) -> Policy:
    labels = LABELS.get(kind, ())
    asked = AnswerSpec(kind=kind, labels=labels, schema=schema)
    return Policy.from_mapping(tomllib.loads(toml), labels, asked)


def rule(kind: Kind, when: str, then: str = "review") -> Policy:
    one = f'{{ name = "r", when = {when}, then = "{then}" }}'
    return policy(kind, f"threshold = 0.9\nrules = [{one}]")


def predicted(kind: Kind, answer: dict[str, Any], confidence: float = 0.95) -> AnswerPrediction:
    return AnswerPrediction(kind=kind, answer=answer, confidence=confidence, model_version="m@1")


def send(by: Policy, prediction: AnswerPrediction | None, **more: Any) -> Route:
    item = AnswerItem(**{"id": "i", "text": TEXT, "received_at": NOW, **more})
    return route(by, "w", item, prediction, "salt", "v1", NOW)


def codes(chosen: Route) -> list[str]:
    return [reason.code for reason in chosen.reasons]


@pytest.mark.parametrize(
    ("kind", "when", "answer", "holds"),
    [
        ("labels", '{ label = "Insult" }', INSULT, True),
        ("labels", '{ labels_any = ["threat", "INSULT"] }', INSULT, True),
        ("labels", '{ labels_any = "threat" }', INSULT, False),
        ("labels", '{ labels_any = "threat" }', {"labels": []}, False),
        ("labels", '{ labels_none = ["threat", "toxic"] }', INSULT, True),
        ("labels", '{ labels_none = ["threat", "insult"] }', INSULT, False),
        ("labels", '{ labels_none = ["threat"] }', {"labels": []}, True),
        ("labels", '{ labels_any = "insult", labels_none = "threat" }', INSULT, True),
        ("labels", '{ labels_any = "insult", labels_none = "threat" }',
         {"labels": ["insult", "threat"]}, False),
        ("spans", '{ span_labels = "per" }', PERSON, True),
        ("spans", '{ span_labels = ["ORG"] }', PERSON, False),
        ("spans", '{ span_labels = ["ORG", "PER"] }', {"spans": []}, False),
        ("form", "{ field = { total = { gt = 1000 } } }", INVOICE, True),
        ("form", "{ field = { total = { gt = 1200 } } }", INVOICE, False),
        ("form", '{ field = { total = { gt = 1000 }, currency = "USD" } }', INVOICE, False),
        ("form", '{ field = { currency = { in = ["USD", "EUR"] } } }', INVOICE, True),
        ("form", '{ field = { "lines.0.amount" = { le = 7.5 } } }', INVOICE, True),
        ("form", '{ field = { "lines.1.amount" = { exists = false } } }', INVOICE, True),
        ("form", '{ field = { "lines.x" = { exists = false } } }', INVOICE, True),
        ("form", "{ field = { note = { exists = false } } }", INVOICE, True),
        ("form", "{ field = { vat = { exists = true } } }", INVOICE, False),
        ("text", '{ text_matches = "ACME" }', {"text": "Dear Peter"}, True),
        ("preference", "{ confidence_above = 0.9 }", {"preferred": 0}, True),
    ],
)  # fmt: skip
def test_a_condition_on_the_answer_holds_as_it_says(
    kind: Kind, when: str, answer: dict[str, Any], holds: bool
) -> None:
    asked = rule(kind, when)
    # Given a sure prediction / I expect a person exactly where the rule that asks for one holds
    chosen = send(asked, predicted(kind, answer))
    assert codes(chosen) == (["rule"] if holds else ["confident"])
    # Without any prediction no condition on it holds, not even that something is absent from it.
    without = send(asked, None)
    assert without.route == "review"
    assert codes(without) == (["no_prediction", "rule"] if "text" in when else ["no_prediction"])


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ('{ action = "refund" }', True),
        ('{ action = ["close", "refund"] }', True),
        ('{ action = "Refund" }', False),  # a program's name, not a label
        ("{ argument = { amount = { lt = 50 } } }", True),
        ('{ argument = { "amount" = { lt = 30 } } }', False),
        ('{ action = "refund", argument = { "to.country" = "AT", "lines.0.n" = 2 } }', True),
        ('{ action = "refund", argument = { amount = 30, to = { country = "DE" } } }', False),
        ("{ argument = { approved_by = { exists = false } } }", True),
    ],
)  # fmt: skip
def test_a_rule_alone_approves_an_action(when: str, holds: bool) -> None:
    # Given a rule that approves, and nobody who predicts anything
    chosen = send(rule("approval", when, "accept"), None, action=REFUND)
    # I expect it to decide where it holds, and people everywhere else
    if holds:
        assert (chosen.route, codes(chosen), chosen.would_accept) == ("accept", ["rule"], False)
        assert (chosen.threshold, chosen.blind, chosen.sampling.q) == (None, False, 0.0)
    else:
        assert (chosen.route, codes(chosen)) == ("review", ["no_prediction"])


def test_a_rule_approves_nothing_but_an_action_that_still_waits() -> None:
    small = rule("approval", "{ argument = { amount = { lt = 50 } } }", "accept")
    # It says yes until the program waits no more,
    for left, chosen_route in ((1, "accept"), (0, "review"), (-1, "review")):
        at = NOW + timedelta(seconds=left)
        assert send(small, None, action=REFUND, expires_at=at).route == chosen_route
        sure = predicted("approval", APPROVED)
        assert send(small, sure, action=REFUND, expires_at=at).route == chosen_route
    # and of no other kind is there an answer that could be accepted.
    for kind, more in (
        ("labels", {}),
        ("form", {}),
        ("text", {"draft": "d"}),
        ("preference", {"candidates": ("a", "b")}),
    ):
        any_text = rule(kind, "{ min_characters = 1 }", "accept")  # type: ignore[arg-type]  # a Kind
        assert codes(send(any_text, None, **more)) == ["no_prediction"]


def test_a_rule_that_approves_says_yes_to_what_was_asked_alone() -> None:
    small = rule("approval", "{ argument = { amount = { lt = 50 } } }", "accept")
    # Given an unsure prediction of the very action / I expect the rule to decide
    chosen = send(small, predicted("approval", APPROVED, 0.3), action=REFUND)
    assert (chosen.route, codes(chosen)) == ("accept", ["rule"])
    # Given a prediction of something else, however sure / I expect a person to see both
    for other in (
        {"verdict": "reject"},
        {"verdict": "approve", "arguments": {"amount": 5_000}},
        {**APPROVED, "reply": "and tell them"},
    ):
        chosen = send(small, predicted("approval", other, 0.99), action=REFUND)
        assert (chosen.route, codes(chosen)) == ("review", ["rule"])
        assert "something else than the action is predicted" in chosen.reasons[0].text


def test_a_rule_for_people_sends_what_nobody_predicted_to_its_desk() -> None:
    big = policy(
        "approval",
        """
        threshold = 0.9
        [[rules]]
        name = "big"
        when = { argument = { amount = { ge = 30 } } }
        then = "review"
        queue = "treasury"
        priority = 9
        due_minutes = 5
        """,
    )
    chosen = send(big, None, action=REFUND)
    assert codes(chosen) == ["no_prediction", "rule"]
    assert (chosen.queue, chosen.priority) == ("treasury", 9)
    assert chosen.due_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("kind", "when", "tells"),
    [
        ("labels", '{ labels_any = "insult" }', True),
        ("labels", '{ labels_none = "threat" }', True),
        ("spans", '{ span_labels = "PER" }', True),
        ("form", "{ field = { total = { gt = 1 } } }", True),
        ("approval", '{ action = "refund" }', False),
        ("approval", "{ argument = { amount = { gt = 1 } } }", False),
    ],
)  # fmt: skip
def test_the_desk_of_a_panel_item_does_not_tell_what_was_predicted(
    kind: Kind, when: str, tells: bool
) -> None:
    answers: dict[str, dict[str, Any]] = {
        "labels": INSULT,
        "spans": PERSON,
        "form": INVOICE,
        "approval": APPROVED,
    }
    asked = policy(
        kind,
        f'threshold = 0.9\npanel = {{ rate = 1.0 }}\nrules = [{{ name = "r", when = {when}, '
        'then = "review", queue = "desk", priority = 5 }]',
    )
    action = REFUND if kind == "approval" else None
    chosen = send(asked, predicted(kind, answers[kind]), action=action)
    assert (chosen.blind, codes(chosen)) == (True, ["panel", "rule"])
    assert (chosen.queue, chosen.priority) == (("default", 0) if tells else ("desk", 5))


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("labels", 'when = { span_labels = "toxic" }', "span_labels means nothing where answer ="),
        ("label", 'when = { labels_any = "positive" }', "it is for labels"),
        ("label", 'when = { labels_none = "positive" }', "it is for labels"),
        ("spans", 'when = { labels_any = "PER" }', "it is for labels"),
        ("text", 'when = { label = "x" }', "it is for label, labels, spans"),
        ("form", 'when = { label = "total" }', "label means nothing where answer = 'form'"),
        ("labels", "when = { field = { total = 1 } }", "it is for form"),
        ("form", 'when = { action = "refund" }', "it is for approval"),
        ("form", "when = { argument = { amount = 1 } }", "it is for approval"),
        ("labels", 'when = { labels_any = "rude" }', "no label 'rude'; it has toxic, insult"),
        ("spans", 'when = { span_labels = ["PER", "LOC"] }', "no label 'LOC'; it has PER, ORG"),
        ("form", "when = { field = { total = {} } }", "names no test"),
        ("form", "when = { field = {} }", "names no condition"),
        ("labels", "when = { labels_any = [] }", "names no condition"),
        ("labels", 'when = { labels_any = "toxic", labels_none = "Toxic" }', "rules out all of"),
    ],
)  # fmt: skip
def test_what_means_nothing_for_a_kind_is_refused_by_name(
    kind: Kind, content: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        policy(kind, f'threshold = 0.9\nrules = [{{ name = "r", {content}, then = "review" }}]')
    (line,) = str(refused.value).splitlines()
    assert line.startswith("rules.r.when")
    assert problem in line


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("totel = 1", "the schema has no field 'totel'; it has amount, currency, paid, payee,"
         " to.country, lines.0.n"),
        ("amuont = { gt = 1 }", "did you mean 'amount'?"),
        ('"to.county" = "AT"', "no field 'to.county'"),
        ('to = { county = "AT" }', "no field 'to.county'"),
        ('"lines.n" = 2', "no field 'lines.n'"),
        ('"amount.0" = 2', "no field 'amount.0'"),
        ("totel = { exists = false }", "no field 'totel'"),
        ("paid = { gt = 1 }", "no value that the schema allows at 'paid' can meet this test"),
        ("lines = { gt = 1 }", "at 'lines' can meet"),
        ("currency = { gt = 1 }", "at 'currency' can meet"),
        ('currency = "eur"', "at 'currency' can meet"),
        ('amount = "12"', "at 'amount' can meet"),
        ('amount = { in = ["a", true] }', "at 'amount' can meet"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["field", "argument"])
def test_a_test_that_the_schema_can_never_meet_is_refused_by_its_path(
    key: str, test: str, problem: str
) -> None:
    kind: Kind = "form" if key == "field" else "approval"
    content = f'rules = [{{ name = "r", when = {{ {key} = {{ {test} }} }}, then = "review" }}]'
    with pytest.raises(ConfigurationError) as refused:
        policy(kind, f"threshold = 0.9\n{content}", SCHEMA)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"rules.r.when.{key}: ")
    assert problem in line


@pytest.mark.parametrize(
    "test",
    [
        "amount = { gt = 1 }",
        'currency = { in = ["EUR", "GBP"] }',
        "paid = true",
        "payee = { gt = 1000 }",  # "1200" is one
        "to = { exists = true }",
        '"to.country" = "AT"',
        '"lines.3.n" = { ge = 1 }',
        '"lines.3.n" = { exists = false }',
        '"lines.3.of.which.nothing.is.said" = 1',
        "lines = { exists = true }",
    ],
)
def test_a_test_that_some_value_meets_is_taken(test: str) -> None:
    content = f'rules = [{{ name = "r", when = {{ field = {{ {test} }} }}, then = "review" }}]'
    assert policy("form", f"threshold = 0.9\n{content}", SCHEMA).rules


@pytest.mark.parametrize("key", ["label_thresholds = { '%s' = 0.5 }", "always_review = ['%s']"])
def test_a_part_that_no_answer_has_is_refused_by_its_name(key: str) -> None:
    def problem(kind: Kind, name: str) -> str:
        try:
            policy(kind, f"threshold = 0.9\n{key % name}", SCHEMA if kind == "form" else None)
        except ConfigurationError as error:
            return str(error)
        return ""

    named = key.split()[0]
    for path in ("amount", "Amount", "lines.7.n", "to.country", "lines.0.more"):
        assert problem("form", path) == ""
    assert problem("form", "amounts").startswith(f"{named}: the schema has no field 'amounts'; it")
    assert "did you mean 'to.country'?" in problem("form", "to.contry")
    for name in ("tie", "Candidate 2"):
        assert problem("preference", name) == ""
    for name in ("candidate 0", "left"):
        assert problem("preference", name).startswith(f"{named}: no answer is called {name!r}")


def test_a_rule_does_not_approve_what_breaks_the_schema() -> None:
    by = policy(
        "approval",
        'threshold = 0.9\nrules = [{ name = "r", when = { action = "refund" }, then = "accept" }]',
        SCHEMA,
    )
    # Given an action whose arguments the schema allows, and one that a person must edit
    good = Action(name="refund", arguments={"amount": 30})
    bad = Action(name="refund", arguments={"amount": "all of it"})
    sure = predicted("approval", {"verdict": "approve", "arguments": bad.arguments}, 0.99)
    # I expect the rule to approve the one, whatever is predicted, and people to see the other.
    assert send(by, None, action=good).route == "accept"
    assert codes(send(by, None, action=bad)) == ["no_prediction"]
    chosen = send(by, sure, action=bad)
    assert (chosen.route, codes(chosen)) == ("review", ["rule"])
    assert "but the action's arguments.amount: must fit the schema's type" in chosen.reasons[0].text


@pytest.mark.parametrize(
    ("kind", "content", "problem"),
    [
        ("text", "label_thresholds = { x = 0.5 }", "label_thresholds: means nothing where answer"),
        ("text", 'always_review = ["x"]', "always_review: means nothing where answer = 'text'"),
        ("approval", 'always_review = ["deny"]', "no label 'deny'; it has approve, reject"),
    ],
)  # fmt: skip
def test_thresholds_are_for_names_that_an_answer_can_have(
    kind: Kind, content: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        policy(kind, f"threshold = 0.9\n{content}")


def test_what_always_goes_to_people_is_called_by_its_name() -> None:
    for kind, name, answer in (
        ("labels", "insult", INSULT),
        ("spans", "PER", PERSON),
        ("form", "lines.0.amount", INVOICE),
        ("preference", "tie", {"preferred": None}),
        ("approval", "reject", {"verdict": "reject"}),
    ):
        asked = policy(kind, f'threshold = 0.9\nalways_review = ["{name}"]')  # type: ignore[arg-type]  # a Kind
        assert codes(send(asked, predicted(kind, answer), action=REFUND)) == ["always_review"]  # type: ignore[arg-type]


def test_a_certificate_speaks_of_one_kind_of_answer_and_one_schema() -> None:
    def population(**spec: Any) -> str:
        return Policy.from_mapping({"threshold": 0.9}, (), AnswerSpec(**spec)).population

    plain = Policy.from_mapping({"threshold": 0.9}).population
    assert population(kind="label") == plain
    others = [
        population(kind="labels"),
        population(kind="spans"),
        population(kind="spans", overlap=True),
        population(kind="form"),
        population(kind="form", schema={"type": "object"}),
    ]
    assert len({plain, *others}) == 6


@pytest.mark.parametrize(
    ("kind", "answer", "parts", "confidence", "route", "asked"),
    [
        # Every label has a part: each is held against its own threshold, absent ones, too.
        ("labels", INSULT, {"toxic": 0.02, "insult": 0.65, "threat": 0.04}, 0.65, "accept", 0.6),
        ("labels", INSULT, {"toxic": 0.3, "insult": 0.7, "threat": 0.05}, 0.7, "review", 0.9),
        # A part that is not there is no reason to trust it: the whole's confidence stands for it.
        ("labels", INSULT, {"threat": 0.01}, 0.3, "review", 0.9),
        ("labels", INSULT, {"insult": 0.99}, 0.3, "review", 0.9),
        ("labels", INSULT, {"insult": 0.99}, 0.95, "accept", 0.9),
        ("labels", INSULT, None, 0.7, "accept", 0.6),
        # No part of a span says that no other was overlooked.
        ("spans", PERSON, (0.99,), 0.3, "review", 0.9),
        ("spans", PERSON, (0.99,), 0.95, "accept", 0.9),
        ("spans", PERSON, (0.5,), 0.95, "review", 0.8),
        ("spans", {"spans": []}, (), 0.3, "review", 0.9),
    ],
)
def test_each_part_is_held_against_its_threshold_and_what_has_none_by_the_whole(
    kind: Kind, answer: dict[str, Any], parts: Any, confidence: float, route: str, asked: float
) -> None:
    own = {"labels": "insult = 0.6", "spans": "PER = 0.8"}[kind]
    by = policy(kind, f"threshold = 0.9\nlabel_thresholds = {{ {own} }}")
    sure = predicted(kind, answer, confidence).model_copy(update={"parts": parts})
    chosen = send(by, sure)
    assert (chosen.route, chosen.threshold) == (route, asked)
