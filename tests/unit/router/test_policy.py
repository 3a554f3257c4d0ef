"""Does every scored item get one route, for all the right reasons, whatever the policy says?"""

import hashlib
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.policy import Policy
from services.router.route import ReasonCode, Route, route
from shared.errors import ConfigurationError
from shared.events.models import Item, Prediction
from shared.hashing import hash01, salt_version

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LABELS = ("negative", "positive")

shares = st.floats(min_value=0.0, max_value=1.0)
texts = st.text(min_size=1, max_size=50)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
json_values = st.recursive(
    scalars, lambda values: st.lists(values) | st.dictionaries(texts, values), max_leaves=4
)
metadata = st.dictionaries(texts, json_values, max_size=4)
items = st.builds(
    Item,
    id=st.text(min_size=1, max_size=40),
    text=texts,
    metadata=metadata,
    received_at=st.just(NOW),
)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    label = draw(st.sampled_from([*LABELS, "neutral"]))
    confidence = draw(shares)
    return Prediction(
        label=label,
        confidence=confidence,
        distribution={label: confidence, "rest": 1 - confidence},
        model_version="m1",
        truncated=draw(st.booleans()),
    )


rules = st.fixed_dictionaries(
    {
        "when": st.one_of(
            st.fixed_dictionaries({"label": st.sampled_from(LABELS)}),
            st.fixed_dictionaries({"min_characters": st.integers(0, 60)}),
            st.fixed_dictionaries(
                {"text_matches": st.sampled_from(["a", r"\d", "(?i)x.*y", "😀"])}
            ),
            st.fixed_dictionaries({"metadata": st.dictionaries(texts, texts, min_size=1)}),
            st.fixed_dictionaries({"confidence_below": st.floats(0.01, 1.0)}),
        ),
        "then": st.sampled_from(["review", "accept"]),
    }
)
policies = st.fixed_dictionaries(
    {
        "threshold": shares,
        "label_thresholds": st.dictionaries(st.sampled_from(LABELS), shares),
        "always_review": st.lists(st.sampled_from(LABELS), max_size=1),
        "accept_truncated": st.booleans(),
        "panel": st.fixed_dictionaries({"rate": shares}),
        "rules": st.lists(rules, max_size=3).map(
            lambda chosen: [{**rule, "name": f"rule {n}"} for n, rule in enumerate(chosen)]
        ),
    }
)


def item(text: str = "a fine film", **more: Any) -> Item:
    return Item(**{"id": "item-1", "text": text, "received_at": NOW, **more})


def prediction(label: str = "positive", confidence: float = 0.9, **more: Any) -> Prediction:
    distribution = {label: confidence, "other": 1 - confidence}
    return Prediction(
        label=label, confidence=confidence, distribution=distribution, model_version="m1", **more
    )


def policy(toml: str, labels: tuple[str, ...] = LABELS) -> Policy:
    return Policy.from_mapping(tomllib.loads(toml), labels)


def send(rule: Policy, what: Item | None = None, score: Prediction | None = None) -> Route:
    return route(rule, "sentiment", what or item(), score or prediction(), "salt", "v1", NOW)


def codes(chosen: Route) -> list[str]:
    return [reason.code for reason in chosen.reasons]


def problems(toml: str, labels: tuple[str, ...] = LABELS) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        policy(toml, labels)
    return str(refused.value).splitlines()


# -- the confidence ----------------------------------------------------------------------------


def test_an_item_at_the_threshold_is_accepted_and_one_just_below_is_reviewed() -> None:
    # Given a threshold of 0.85
    rule = policy("threshold = 0.85")
    # If the model is exactly that sure, I expect the machine to decide and to say why
    accepted = send(rule, score=prediction(confidence=0.85))
    assert (accepted.route, accepted.threshold, accepted.would_accept) == ("accept", 0.85, True)
    assert [(r.code, r.text) for r in accepted.reasons] == [
        ("confident", "confidence 0.85 reaches 0.85")
    ]
    # If it is a little less sure, I expect a person, and two numbers that look different
    reviewed = send(rule, score=prediction(confidence=0.8499))
    assert (reviewed.route, reviewed.would_accept, reviewed.blind) == ("review", False, False)
    assert [(r.code, r.text) for r in reviewed.reasons] == [
        ("below_threshold", "confidence 0.8499 is below 0.8500")
    ]
    assert (reviewed.queue, reviewed.priority, reviewed.due_at) == ("default", 0, None)


def test_a_label_may_ask_for_more_than_the_threshold() -> None:
    rule = policy("threshold = 0.8\nlabel_thresholds = { negative = 0.95 }")
    assert send(rule, score=prediction("positive", 0.9)).route == "accept"
    chosen = send(rule, score=prediction("negative", 0.9))
    assert (chosen.route, chosen.threshold) == ("review", 0.95)


@given(policies, items, predictions(), shares, shares)
def test_raising_the_threshold_never_turns_a_review_into_an_accept(
    content: dict[str, Any], what: Item, score: Prediction, one: float, other: float
) -> None:
    # Given any policy with two thresholds
    low, high = sorted((one, other))
    chosen = [
        send(Policy.from_mapping({**content, "threshold": threshold}, LABELS), what, score)
        for threshold in (low, high)
    ]
    # I expect whatever goes to people under the lower to go to people under the higher
    assert chosen[0].route == "accept" or chosen[1].route == "review"


@given(policies, items, predictions())
def test_every_item_gets_a_route_with_reasons_and_the_same_one_again(
    content: dict[str, Any], what: Item, score: Prediction
) -> None:
    rule = Policy.from_mapping(content, LABELS)
    chosen = send(rule, what, score)
    assert chosen == send(rule, what, score)
    # I expect reasons of the closed set, none twice, and no accept for the reasons of a review
    assert chosen.reasons
    assert len(set(codes(chosen))) == len(codes(chosen))
    assert set(codes(chosen)) <= set(get_args(ReasonCode))
    if chosen.route == "accept":
        assert set(codes(chosen)) <= {"rule", "confident"}
        assert not chosen.sampling.on_panel
        assert score.label in LABELS
        assert not score.truncated or rule.accept_truncated
    else:
        assert "confident" not in codes(chosen)
        assert (codes(chosen)[0] == "panel") is chosen.sampling.on_panel is chosen.blind
    assert chosen.threshold is not None
    assert chosen.would_accept is (score.confidence >= chosen.threshold)
    assert chosen.policy_version == rule.version


# -- what the machine must not decide ----------------------------------------------------------


def test_a_label_that_always_goes_to_people_wins_over_a_rule_that_accepts() -> None:
    rule = policy(
        'threshold = 0.5\nalways_review = ["positive"]\n'
        'rules = [{ name = "trusted", when = { label = "positive" }, then = "accept" }]'
    )
    chosen = send(rule, score=prediction(confidence=0.99))
    assert (chosen.route, codes(chosen), chosen.would_accept) == ("review", ["always_review"], True)


def test_a_text_that_was_not_read_to_its_end_goes_to_people_unless_the_policy_allows_it() -> None:
    cut = prediction(confidence=0.99, truncated=True)
    assert codes(send(policy("threshold = 0.5"), score=cut)) == ["not_fully_read"]
    allowed = policy("threshold = 0.5\naccept_truncated = true")
    assert send(allowed, score=cut).route == "accept"


def test_a_label_that_the_workflow_does_not_have_goes_to_people() -> None:
    chosen = send(policy("threshold = 0.5"), score=prediction("sarcastic", 0.99))
    assert (chosen.route, codes(chosen)) == ("review", ["unknown_label"])
    # but where a workflow takes the labels as the model names them, any is known
    assert send(policy("threshold = 0.5", ()), score=prediction("sarcastic")).route == "accept"


def test_all_reasons_are_given_the_deciding_one_first() -> None:
    rule = policy(
        'threshold = 0.9\nalways_review = ["negative"]\npanel = { rate = 1.0 }\n'
        'rules = [{ name = "short", when = { max_characters = 20 }, then = "review",'
        ' reason = "short texts are hard" }]'
    )
    chosen = send(rule, item("meh"), prediction("negative", 0.6, truncated=True))
    assert codes(chosen) == ["panel", "always_review", "not_fully_read", "rule", "below_threshold"]
    assert chosen.reasons[3].text == "short texts are hard"


# -- the rules ---------------------------------------------------------------------------------


def test_the_first_rule_that_holds_decides() -> None:
    rule = policy(
        """
        threshold = 0.85
        [[rules]]
        name = "vip"
        when = { metadata = { tier = "gold" } }
        then = "review"
        queue = "vip desk"
        priority = 9
        due_minutes = 30
        [[rules]]
        name = "praise"
        when = { label = "positive" }
        then = "accept"
        """
    )
    # If a gold customer praises, I expect the first rule to send it to its desk, with a deadline
    gold = send(rule, item(metadata={"tier": "gold"}))
    assert (gold.route, gold.queue, gold.priority) == ("review", "vip desk", 9)
    assert gold.due_at == NOW + timedelta(minutes=30)
    assert [(r.code, r.text) for r in gold.reasons] == [("rule", "rule 'vip'")]
    assert gold.would_accept
    # If somebody else praises, I expect the second to accept it, sure or not
    unsure = send(rule, score=prediction(confidence=0.3))
    assert (unsure.route, codes(unsure), unsure.would_accept) == ("accept", ["rule"], False)
    assert codes(send(rule)) == ["rule", "confident"]


@pytest.mark.parametrize(
    ("when", "what", "holds"),
    [
        ('label = "positive"', {}, True),
        ('label = ["negative", "positive"]', {}, True),
        ('label = ["negative"]', {}, False),
        ("confidence_below = 0.9", {}, False),  # the number itself is excluded
        ("confidence_below = 0.91", {}, True),
        ("confidence_above = 0.9", {}, False),
        ("confidence_above = 0.89", {}, True),
        ("min_characters = 11", {}, True),
        ("min_characters = 12", {}, False),
        ("max_characters = 11", {}, True),
        ("max_characters = 10", {}, False),
        ('text_matches = "fine"', {}, True),
        ('text_matches = "^fine"', {}, False),
        ('text_matches = "(?i)FINE"', {}, True),
        ('text_matches = "грустный"', {"text": "очень грустный фильм"}, True),
        ('text_matches = "😀$"', {"text": "ok 😀"}, True),
        ('metadata = { channel = "mail" }', {"metadata": {"channel": "mail"}}, True),
        ('metadata = { channel = "mail" }', {"metadata": {"channel": ["mail"]}}, False),
        ('metadata = { channel = "mail" }', {}, False),
        ("metadata = { n = 1 }", {"metadata": {"n": 1.0}}, True),
        ("metadata = { n = 1 }", {"metadata": {"n": True}}, False),  # JSON: true is not 1
        ("metadata = { n = 1 }", {"metadata": {"n": "1"}}, True),  # as CSV has it
        ("metadata = { n = 1 }", {"metadata": {"n": " 1.0 "}}, True),
        ('metadata = { n = "1" }', {"metadata": {"n": 1}}, False),
        ("metadata = { n = 1 }", {"metadata": {"n": "1,0"}}, False),
        ("metadata = { n = true }", {"metadata": {"n": "TRUE"}}, True),
        ("metadata = { n = true }", {"metadata": {"n": "1"}}, False),
        ("metadata = { n = { in = [1, 2] } }", {"metadata": {"n": "2"}}, True),
        ("metadata = { n = { gt = 100 } }", {"metadata": {"n": "120.50"}}, True),
        ("metadata = { n = { gt = 100 } }", {"metadata": {"n": "99"}}, False),
        ("metadata = { n = { gt = 100 } }", {"metadata": {"n": "1e3"}}, True),
        ("metadata = { n = { gt = 100 } }", {"metadata": {"n": "true"}}, False),
        (
            "metadata = { n = { gt = 9007199254740992 } }",
            {"metadata": {"n": "9007199254740993"}},
            True,
        ),
        ("metadata = { n = true }", {"metadata": {"n": 1}}, False),
        ('metadata = { c = { in = ["a", "b"] } }', {"metadata": {"c": "b"}}, True),
        ('metadata = { c = { in = ["a", "b"] } }', {"metadata": {"c": "d"}}, False),
        ("metadata = { n = { ge = 5, lt = 9 } }", {"metadata": {"n": 5}}, True),
        ("metadata = { n = { ge = 5, lt = 9 } }", {"metadata": {"n": 9}}, False),
        ("metadata = { n = { gt = 5 } }", {"metadata": {"n": 5}}, False),
        ("metadata = { n = { le = 5 } }", {"metadata": {"n": 5}}, True),
        ("metadata = { n = { ge = 5 } }", {"metadata": {"n": "many"}}, False),
        ("metadata = { n = { ge = 5 } }", {"metadata": {"n": 10**400}}, True),
        ("metadata = { n = { exists = true } }", {"metadata": {"n": 0}}, True),
        ("metadata = { n = { exists = true } }", {"metadata": {"n": None}}, False),
        ("metadata = { n = { exists = false } }", {"metadata": {"n": None}}, True),
        ("metadata = { n = { exists = false } }", {"metadata": {"n": ""}}, False),
        ('metadata = { a.b = "x" }', {"metadata": {"a": {"b": "x"}}}, True),
        ('metadata = { "a.b" = "x" }', {"metadata": {"a": {"b": "x"}}}, True),
        ('metadata = { "a.b" = "x" }', {"metadata": {"a.b": "x"}}, True),
        ('metadata = { a.b = "x" }', {"metadata": {"a": "x"}}, False),
        ("metadata = { a.n = { gt = 1 } }", {"metadata": {"a": {"n": 2}}}, True),
        ('label = "positive", max_characters = 3', {}, False),  # all must hold
    ],
)
def test_a_condition_holds_or_does_not(when: str, what: dict[str, Any], holds: bool) -> None:
    rule = policy(
        f'threshold = 0.0\nrules = [{{ name = "r", when = {{ {when} }}, then = "review" }}]'
    )
    assert (send(rule, item(**what)).route == "review") is holds


def test_a_pattern_that_would_hang_a_backtracking_engine_is_searched_at_once() -> None:
    # Given a pattern that takes Python's re longer than the universe on this text
    rule = policy(
        'threshold = 0.5\nrules = [{ name = "r", when = { text_matches = "^(a|aa)+$" },'
        ' then = "review" }]'
    )
    # If I route such a text, I expect an answer (or the time limit ends this test)
    assert send(rule, item("a" * 1_000_000 + "b")).route == "accept"


# -- the audit panel ---------------------------------------------------------------------------


def test_a_panel_item_is_always_reviewed_blind_even_where_a_rule_accepts_it() -> None:
    rule = policy(
        "threshold = 0.5\npanel = { rate = 1.0 }\n"
        'rules = [{ name = "r", when = { label = "positive" }, then = "accept" }]'
    )
    chosen = send(rule)
    assert (chosen.route, codes(chosen), chosen.blind) == ("review", ["panel"], True)
    assert chosen.would_accept
    assert chosen.sampling.q == 1.0
    assert chosen.sampling.salt_version == "v1"


@pytest.mark.parametrize(
    ("when", "queue"),
    [
        ("{ min_characters = 1 }", "desk"),
        ('{ label = "positive" }', "default"),
        ("{ confidence_above = 0.01 }", "default"),
    ],
)
def test_a_panel_item_keeps_the_desk_of_a_rule_unless_that_would_tell_what_the_model_thinks(
    when: str, queue: str
) -> None:
    rule = policy(
        "threshold = 0.5\npanel = { rate = 1.0 }\n"
        f'rules = [{{ name = "r", when = {when}, then = "review", queue = "desk", priority = 9 }}]'
    )
    chosen = send(rule)
    assert codes(chosen) == ["panel", "rule"]
    assert (chosen.queue, chosen.priority) == (queue, 9 if queue == "desk" else 0)


@given(st.text(min_size=1), predictions(), predictions(), shares)
def test_membership_depends_on_the_id_alone_and_never_on_the_score(
    item_id: str, one: Prediction, other: Prediction, rate: float
) -> None:
    rule = Policy.from_mapping({"threshold": 0.5, "panel": {"rate": rate}}, LABELS)
    first = send(rule, item("one text", id=item_id[:200]), one).sampling
    second = send(rule, item("another", id=item_id[:200]), other).sampling
    assert first == second
    assert first.on_panel is (first.u < rate)


@given(st.text(), st.lists(st.text(), max_size=3))
def test_the_random_number_of_an_item_is_in_the_half_open_unit_interval(
    salt: str, parts: list[str]
) -> None:
    assert 0.0 <= hash01(salt, *parts) < 1.0


def test_the_random_numbers_look_uniform_for_ids_in_a_row() -> None:
    # Given the ids that a careless producer would use
    count = 20_000
    drawn = sorted(hash01("salt", "sentiment", str(number)) for number in range(count))
    # I expect no gap to the uniform distribution that chance would not explain
    # (Kolmogorov-Smirnov, critical value at 0.1 %; the salt is fixed, so this never flickers)
    gap = max(max((n + 1) / count - u, u - n / count) for n, u in enumerate(drawn))
    assert gap < 1.95 / count**0.5
    assert all(low < high for low, high in pairwise(drawn))


def test_another_salt_or_workflow_draws_another_panel() -> None:
    # Given a thousand ids, I expect draws that have nothing to do with each other
    panels = [
        {n for n in range(1_000) if hash01(salt, workflow, str(n)) < 0.5}
        for salt, workflow in (("salt", "a"), ("pepper", "a"), ("salt", "b"))
    ]
    for one, other in ((0, 1), (0, 2)):
        assert 400 < len(panels[one] ^ panels[other]) < 600
    # and parts that could be confused are not
    assert hash01("s", "ab", "c") != hash01("s", "a", "bc")


def test_an_item_is_drawn_by_its_workflow_and_its_id() -> None:
    rule = policy("threshold = 0.5")
    one, other = (route(rule, w, item(), prediction(), "salt", "v1", NOW) for w in ("a", "b"))
    assert one.sampling.u == hash01("salt", "a", "item-1") != other.sampling.u


def test_a_salt_of_any_length_has_a_version_that_names_it_and_no_salt_has_none() -> None:
    assert salt_version("") == ""
    assert salt_version("x" * 500) != salt_version("x" * 501)
    assert len(salt_version("secret")) == 8


# -- the version -------------------------------------------------------------------------------


def test_the_version_does_not_care_how_the_policy_is_written() -> None:
    # Given the same content in another order, spacing and number format, and a default spelt out
    one = policy(
        'threshold = 0.5\nalways_review = ["negative"]\n[label_thresholds]\nnegative = 1\n'
        "positive = 0.25"
    )
    other = policy(
        '# comment\n\naccept_truncated = false\nalways_review   = [ "negative" ]\n'
        "threshold = 5e-1\n[label_thresholds]\npositive = 0.250\nnegative = 1.0\n[panel]\nrate = 0"
    )
    assert one.version == other.version
    assert len(one.version) == 12
    assert int(one.version, 16) >= 0


@given(policies, policies)
def test_two_policies_share_a_version_exactly_when_they_are_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = Policy.from_mapping(one, LABELS), Policy.from_mapping(other, LABELS)
    assert (first == second) is (first.version == second.version)
    again = Policy.from_mapping(dict(reversed(one.items())), LABELS)
    assert again.version == first.version


def test_the_version_is_a_digest_of_what_differs_from_the_defaults() -> None:
    # A default that a later release adds must not rename the policies of today.
    digest = hashlib.sha256(b'{"panel":{"rate":0.05},"threshold":0.5}').hexdigest()
    assert policy("threshold = 0.5\npanel = { rate = 0.05 }").version == digest[:12]


BASE = 'threshold = 0.5\nrules = [{ name = "r", when = { label = "positive" }, then = "review" }]'


@pytest.mark.parametrize(
    "changed",
    [
        BASE.replace("0.5", "0.51"),
        BASE.replace('"r"', '"s"'),
        BASE.replace("positive", "negative"),
        BASE.replace('"review"', '"accept"'),
        BASE.replace('"review"', '"review", priority = 1'),
        BASE.replace('"review"', '"review", reason = "because"'),
        BASE + "\npanel = { rate = 0.01 }",
        BASE + "\naccept_truncated = true",
    ],
)
def test_every_change_of_content_changes_the_version(changed: str) -> None:
    assert policy(changed).version != policy(BASE).version


# -- what is refused ---------------------------------------------------------------------------


def test_a_bad_policy_is_refused_with_every_problem_in_words() -> None:
    # Given a policy with one of each mistake
    listed = problems(
        """
        threshold = 1.5
        treshold = 0.8
        always_review = ["angry"]
        accept_truncated = "yes"
        [label_thresholds]
        happy = 0.4
        [panel]
        rate = -0.1
        [[rules]]
        name = "one"
        when = { text_matches = "(", label = "sad" }
        then = "maybe"
        priority = 10
        queue = "büro"
        due_minutes = 0
        [[rules]]
        name = "one"
        when = {}
        then = "accept"
        [[rules]]
        when = { metadata = { n = { gt = "a", near = 1 }, l = [1], d = 2026-01-01 } }
        then = "review"
        """
    )
    # I expect each to be named, by its path
    for expected in (
        "threshold: Input should be less than or equal to 1, not 1.5",
        "treshold: no such key",
        "always_review.0: the workflow has no label 'angry'; it has negative, positive",
        "accept_truncated: Input should be a valid boolean",
        "label_thresholds.happy: the workflow has no label 'happy'; it has negative, positive",
        "panel.rate: Input should be greater than or equal to 0, not -0.1",
        "rules: 2 rules are named 'one'",
        "rules.one.when.text_matches: RE2 cannot read '(': missing ): (",
        "rules.one.when.label.0: the workflow has no label 'sad'; it has negative, positive",
        "rules.one.then: Input should be 'review' or 'accept'",
        "rules.one.priority: Input should be less than or equal to 9, not 10",
        "rules.one.queue: 'büro' is no name: letters, digits, spaces and ._- "
        "(at most 60, not ._- first)",
        "rules.one.due_minutes: Input should be greater than 0, not 0",
        "rules.one.when: names no condition: such a rule would match every item",
        "rules.3.name: Field required",
        "rules.3.when.metadata.n.gt: Input should be a valid number",
        "rules.3.when.metadata.n.near: no such key",
        "rules.3.when.metadata.l.equals: must be a text, a number, or true or false",
        "rules.3.when.metadata.d.equals: must be a text, a number, or true or false",
    ):
        assert expected in listed
    assert len(listed) == 19


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "threshold: Field required"),
        ("threshold = nan", "threshold: Input should be a finite number"),
        ("threshold = true", "threshold: Input should be a valid number"),
        ('threshold = "0.5"', "threshold: Input should be a valid number"),
        ("threshold = 0.5\nrules = 3", "rules: Input should be a valid tuple"),
        ("threshold = 0.5\nrules = [3]", "rules.1: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_type_is_refused(content: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(content))


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ('when = { confidence_below = 0.5, confidence_above = 0.5 }, then = "review"', "no confid"),
        ('when = { min_characters = 5, max_characters = 4 }, then = "review"', "is more than"),
        ('when = { metadata = { n = {} } }, then = "review"', "names no test"),
        ('when = { metadata = { n = { exists = false, gt = 1 } } }, then = "review"', "leaves not"),
        ('when = { metadata = { n = { in = [] } } }, then = "review"', "at least 1 item"),
        ('when = { metadata = { n = inf } }, then = "review"', "finite"),
        (r'when = { text_matches = "(a)\\1" }, then = "review"', "RE2 cannot read"),
        ('when = { text_matches = "(((a{900}){9}){9})" }, then = "review"', "RE2 cannot read"),
        ('when = { label = "positive" }, then = "accept", queue = "x"', "mean nothing"),
    ],
)
def test_a_rule_that_could_not_mean_anything_is_refused(rest: str, problem: str) -> None:
    listed = problems(f'threshold = 0.5\nrules = [{{ name = "r", {rest} }}]')
    assert len(listed) == 1
    assert listed[0].startswith("rules.r")
    assert problem in listed[0]


@given(st.dictionaries(st.sampled_from([*Policy.model_fields, "other"]), json_values))
def test_no_content_whatsoever_is_more_than_refused(content: Mapping[str, object]) -> None:
    try:
        Policy.from_mapping(content, LABELS)
    except ConfigurationError as error:
        assert str(error)


def test_a_file_of_old_keeps_its_version_and_its_population() -> None:
    # Certificates and recorded decisions name them: what is added to the policy must not move them.
    old = policy(
        """
        threshold = 0.8
        always_review = ["negative"]
        [[rules]]
        name = "a"
        when = { label = "positive", metadata = { n = { gt = 3 }, "a.b" = { in = ["x"] } }, \
text_matches = "x", min_characters = 3, confidence_below = 0.4 }
        then = "review"
        queue = "q"
        [[rules]]
        name = "b"
        when = { max_characters = 5 }
        then = "accept"
        """
    )
    assert (old.version, old.population) == ("cc10b29dbcfa", "52b363981641")
