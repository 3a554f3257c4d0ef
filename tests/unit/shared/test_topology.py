"""Is nothing lost by the way the queues are tied together?"""

import re

import pytest

from shared.topology import (
    EVENTS,
    ITEMS,
    LOG_QUEUE,
    POLICY_STREAM,
    QUEUES,
    ROUTER_QUEUE,
    UNROUTABLE,
    Topology,
    accepted_queue,
    dead_letter_queue,
    highlights_queue,
    inference_queue,
    retry_queue,
    review_queue,
    topology,
)

DELAYS = (5, 30)
WORKFLOWS = ("sentiment", "topics")


@pytest.fixture
def drawn() -> Topology:
    return topology(WORKFLOWS, DELAYS)


def arguments(drawn: Topology, queue: str) -> dict[str, object]:
    (found,) = [entry for entry in drawn.queues if entry.name == queue]
    return dict(found.arguments)


def reached(drawn: Topology, exchange: str, key: str) -> set[str]:
    """The queues that a message gets to, by the rules of a topic exchange, or of a fanout one."""
    kind = next(entry.kind for entry in drawn.exchanges if entry.name == exchange)

    def matches(pattern: str) -> bool:
        expression = re.escape(pattern).replace(r"\*", "[^.]+").replace(r"\#", ".*")
        return kind == "fanout" or re.fullmatch(expression, key) is not None

    bound = {b.queue for b in drawn.bindings if b.exchange == exchange and matches(b.routing_key)}
    if bound:
        return bound
    alternate = next(e.arguments for e in drawn.exchanges if e.name == exchange)
    instead = alternate.get("alternate-exchange")
    return reached(drawn, str(instead), key) if instead else set()


def test_an_item_reaches_its_model_and_the_log(drawn: Topology) -> None:
    assert reached(drawn, ITEMS, "sentiment") == {inference_queue("sentiment"), LOG_QUEUE}


@pytest.mark.parametrize("key", ["", "unheard", "sentiment.x", "SENTIMENT"])
def test_an_item_of_no_known_workflow_is_kept_and_logged(drawn: Topology, key: str) -> None:
    assert reached(drawn, ITEMS, key) == {UNROUTABLE, LOG_QUEUE}


@pytest.mark.parametrize(
    ("kind", "queue"),
    [
        ("item.scored", ROUTER_QUEUE),
        ("item.accepted", accepted_queue("topics")),
        ("item.reviewed", accepted_queue("topics")),
        ("item.explained", review_queue("topics")),
    ],
)
def test_an_event_reaches_its_reader_and_the_log_and_nobody_else(
    drawn: Topology, kind: str, queue: str
) -> None:
    assert reached(drawn, EVENTS, f"{kind}.topics") == {queue, LOG_QUEUE}


def test_a_request_for_review_also_reaches_who_weighs_its_words(drawn: Topology) -> None:
    assert reached(drawn, EVENTS, "item.review_requested.topics") == {
        review_queue("topics"),
        highlights_queue("topics"),
        LOG_QUEUE,
    }


def test_what_is_best_effort_drops_its_oldest_and_refuses_nothing(drawn: Topology) -> None:
    # Given the queue of word highlights, which gets the router's messages, too
    best_effort = arguments(drawn, highlights_queue("topics"))
    # I expect it to be bounded in length and time, and never to refuse a publish
    assert best_effort["x-overflow"] == "drop-head"
    assert best_effort["x-max-length"] == 10_000
    assert best_effort["x-message-ttl"] == 86_400_000
    # and nothing to be kept of what it drops
    assert "x-dead-letter-exchange" not in best_effort
    names = {queue.name for queue in drawn.queues}
    assert not any(name.startswith(f"{highlights_queue('topics')}.") for name in names)


def test_a_failure_reaches_the_log(drawn: Topology) -> None:
    assert reached(drawn, EVENTS, "item.failed.topics") == {LOG_QUEUE}


def test_every_queue_is_replicated_and_refuses_rather_than_drops(drawn: Topology) -> None:
    for queue in drawn.queues:
        assert queue.arguments["x-queue-type"] == "quorum"
        if not queue.name.endswith(".highlights"):  # best effort
            assert queue.arguments["x-overflow"] == "reject-publish"
        assert "x-max-priority" not in queue.arguments  # RabbitMQ refuses it on a quorum queue


def test_every_dead_letter_arrives_somewhere(drawn: Topology) -> None:
    # Given all queues, I expect each dead-letter target to exist, safely, and no loop without delay
    names = {queue.name for queue in drawn.queues}
    for queue in drawn.queues:
        target = queue.arguments.get("x-dead-letter-routing-key")
        if target is None:
            assert queue.name.endswith((".dlq", ".highlights")) or queue.name == UNROUTABLE
            continue
        assert target in names
        assert queue.arguments["x-dead-letter-exchange"] == ""
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        delayed = "x-message-ttl" in queue.arguments
        assert delayed is (target != dead_letter_queue(queue.name))


def test_a_retry_waits_for_its_delay_and_comes_back(drawn: Topology) -> None:
    for queue in (ROUTER_QUEUE, LOG_QUEUE, inference_queue("topics"), review_queue("topics")):
        for delay in DELAYS:
            waiting = arguments(drawn, retry_queue(queue, delay))
            assert waiting["x-message-ttl"] == delay * 1_000
            assert waiting["x-dead-letter-routing-key"] == queue


def test_the_queue_of_others_has_dead_letters_but_no_retries_of_ours(drawn: Topology) -> None:
    names = {queue.name for queue in drawn.queues}
    assert dead_letter_queue(accepted_queue("topics")) in names
    assert not any(name.startswith(f"{accepted_queue('topics')}.retry") for name in names)


def test_what_is_set_aside_goes_to_its_queue_by_name(drawn: Topology) -> None:
    # Given every queue that a service writes to by its name: dead letters, retries and the stream
    # of policies / I expect each to get what is sent to its name, and no other queue to have one.
    aside = {queue.name for queue in drawn.queues if ".retry." in queue.name}
    aside |= {queue.name for queue in drawn.queues if queue.name.endswith(".dlq")}
    for name in {*aside, POLICY_STREAM}:
        assert reached(drawn, QUEUES, name) == {name}
    assert {b.queue for b in drawn.bindings if b.exchange == QUEUES} == {*aside, POLICY_STREAM}


def test_a_dead_letter_may_be_looked_at_for_ever(drawn: Topology) -> None:
    """RabbitMQ 4 drops what was delivered 20 times, unless the queue says otherwise."""
    for queue in drawn.queues:
        kept = queue.name.endswith(".dlq") or queue.name == UNROUTABLE
        assert ("x-delivery-limit" in queue.arguments) is kept, queue.name


def test_the_names_are_those_of_the_contract(drawn: Topology) -> None:
    assert {exchange.name: exchange.kind for exchange in drawn.exchanges} == {
        "hitl.items": "topic",
        "hitl.events": "topic",
        "hitl.unroutable": "fanout",
        "hitl.queues": "topic",
    }
    names = [queue.name for queue in drawn.queues]
    assert len(names) == len(set(names))
    assert {
        "hitl.sentiment.inference",
        "hitl.router",
        "hitl.sentiment.review",
        "hitl.sentiment.highlights",
        "hitl.sentiment.accepted",
        "hitl.log",
        "hitl.unroutable",
        "hitl.router.dlq",
        "hitl.sentiment.inference.retry.30s",
    } <= set(names)
    (stream,) = drawn.streams
    assert (stream.name, stream.arguments["x-queue-type"]) == (POLICY_STREAM, "stream")


def test_what_is_of_one_workflow_says_so_and_the_rest_does_without_it(drawn: Topology) -> None:
    # Given two workflows / I expect what is named after one, and nothing else, to be its own,
    assert drawn.workflows == WORKFLOWS
    for queue in (*drawn.queues, *drawn.streams):
        parts = queue.name.split(".")
        assert queue.workflow == (parts[1] if parts[1] in WORKFLOWS else None), queue.name
    # the rest without it to be that of the other alone, and the two together the whole.
    rest = drawn.without(["topics"])
    assert rest == topology(["sentiment"], DELAYS)
    joined = rest.joined(topology(["topics"], DELAYS)).joined(rest)
    assert {queue.name for queue in joined.queues} == {queue.name for queue in drawn.queues}
    assert len(joined.queues) == len(drawn.queues)
    assert set(joined.bindings) == set(drawn.bindings)
    assert len(joined.bindings) == len(drawn.bindings)
    assert (joined.exchanges, joined.streams) == (drawn.exchanges, drawn.streams)
