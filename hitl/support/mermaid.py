"""Draws a workflow as a Mermaid flowchart: its exchanges, queues, services and policy.

Queues and bindings are read from the topology, so that they are always correct.
"""

import re
from collections.abc import Iterator

from services.router.policy import Policy
from services.router.rules import Rule
from services.router.values import ValueTest
from shared.topology import (
    EVENTS,
    ITEMS,
    LOG_QUEUE,
    POLICY_STREAM,
    QUEUES,
    ROUTER_QUEUE,
    UNROUTABLE,
    accepted_queue,
    inference_queue,
    review_queue,
    topology,
)
from shared.workflows.files import Workflow


def diagram(workflow: Workflow, policy: Policy) -> str:
    """The flowchart's source."""
    return "\n".join(["flowchart LR", *(f"    {line}" for line in _lines(workflow, policy))])


def _lines(workflow: Workflow, policy: Policy) -> Iterator[str]:
    name = workflow.name
    drawn = topology([name], ())
    readers = {
        inference_queue(name): ("inference", f"inference: {workflow.model}"),
        review_queue(name): ("review_ui", "review UI: people"),
        accepted_queue(name): ("downstream", "downstream applications"),
        LOG_QUEUE: ("logger", "logger: Postgres"),
        UNROUTABLE: ("operators", "operators"),
    }
    yield f"producers([producers]) -->|{_quoted(name)}| {_id(ITEMS)}"
    for exchange in drawn.exchanges:
        if exchange.name == QUEUES:  # dead letters and retries would hide an item's path
            continue
        # An exchange may have the name of its queue.
        yield f"{_id(exchange.name)}{{{{{_quoted(exchange.name)}}}}}"
        if "alternate-exchange" in exchange.arguments:
            other = _id(str(exchange.arguments["alternate-exchange"]))
            yield f'{_id(exchange.name)} -.->|"no such workflow"| {other}'
    for bound in drawn.bindings:
        if bound.exchange == QUEUES:
            continue
        key = _quoted(bound.routing_key or "everything")
        yield f"{_id(bound.exchange)} -->|{key}| {_queue(bound.queue)}"
    for queue, (reader, words) in readers.items():
        yield f"{_queue(queue)}[({_quoted(queue)})] --> {reader}[{_quoted(words)}]"
    yield f"inference -->|item.scored| {_id(EVENTS)}"
    yield f"review_ui -->|item.reviewed| {_id(EVENTS)}"
    yield f"{_queue(ROUTER_QUEUE)}[({_quoted(ROUTER_QUEUE)})] --> step1"
    yield f"subgraph router [{_quoted(f'router, policy {policy.version}')}]"
    yield from (f"    {line}" for line in _decisions(policy))
    yield "end"
    yield f"accept -->|item.accepted| {_id(EVENTS)}"
    yield f"review -->|item.review_requested| {_id(EVENTS)}"
    yield f"feedback[{_quoted('feedback: certifies thresholds')}] --> {_queue(POLICY_STREAM)}"
    yield f"{_queue(POLICY_STREAM)}[({_quoted(POLICY_STREAM)})] -.->|live policy| router"
    yield "logger -.->|audits| feedback"


def _decisions(policy: Policy) -> Iterator[str]:
    """The policy's conditions in their order: yes leads to a target, no to the next."""
    asked = [*_questions(policy), (_threshold(policy), "accept")]
    for number, (question, target) in enumerate(asked, start=1):
        step = f"step{number}"
        yield f"{step}{{{_quoted(question)}}} -->|yes| {target}"
        yield f"{step} -->|no| {'review' if number == len(asked) else f'step{number + 1}'}"
    yield "accept([accept])"
    yield "review([review])"


def _questions(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.mode == "certified":
        yield "no certificate for this model and policy?", "review"
        yield "drawn for the audit panel? (blind)", "review"
    elif policy.panel.rate > 0:
        yield f"drawn for the audit panel? ({policy.panel.rate:.4g} of all, blind)", "review"
    unsafe = [f"label is {label}" for label in policy.always_review]
    unsafe += ["label is unknown"]
    unsafe += [] if policy.accept_truncated else ["text was not read to its end"]
    yield f"{', or '.join(unsafe)}?", "review"
    for rule in policy.rules:
        yield f"{rule.name}: {_conditions(rule)}?", rule.then


def _threshold(policy: Policy) -> str:
    if policy.mode == "certified":
        return f"confidence at least the certified threshold? (wished: {policy.threshold:.4g})"
    asks = [f"confidence at least {policy.threshold:.4g}"]
    asks += [f"{label}: {share:.4g}" for label, share in policy.label_thresholds.items()]
    return f"{'; '.join(asks)}?"


def _conditions(rule: Rule) -> str:
    when = rule.when
    named = (
        ("label is", when.label),
        ("has", when.labels_any),
        ("has not", when.labels_none),
        ("has a span of", when.span_labels),
        ("action is", when.action),
    )
    parts = [f"{words} {' or '.join(names)}" for words, names in named if names]
    for tests in (when.metadata, when.field, when.argument):
        parts += [f"{path} {_test(test)}" for path, test in tests.items()]
    parts += [
        f"{words} {value}"
        for words, value in (
            ("confidence below", when.confidence_below),
            ("confidence above", when.confidence_above),
            ("characters at least", when.min_characters),
            ("characters at most", when.max_characters),
            ("text matches", when.text_matches),
        )
        if value is not None
    ]
    return " and ".join(parts)


def _test(test: ValueTest) -> str:
    given = test.model_dump(by_alias=True, exclude_none=True)
    return ", ".join(
        f"= {value}" if key == "equals" else f"{key} {value}" for key, value in given.items()
    )


def _id(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def _queue(name: str) -> str:
    return f"queue_{_id(name)}"


def _quoted(text: str) -> str:
    """A label: Mermaid interprets HTML and its own entities in it, so both are escaped."""
    special = re.sub(r"[^\w\s.,:;=/()*?+-]|[#;]", lambda found: f"#{ord(found[0])};", text)
    return f'"{special}"'
