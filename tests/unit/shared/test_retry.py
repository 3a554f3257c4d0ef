"""Is a failing message delayed, counted and at last set aside, with everything it came with?"""

from dataclasses import replace

from shared.errors import NotYet, Permanent, Retryable
from shared.messages import Delivery, Outgoing
from shared.messaging.retry import RetryPolicy, dead_letter, first_priority

POLICY = RetryPolicy((5, 30), delivery_limit=5)


def delivery(**headers: object) -> Delivery:
    return Delivery(
        queue="hitl.router",
        exchange="hitl.events",
        routing_key="item.scored.sentiment",
        body=b"{}",
        headers=headers,
        tag=1,
        message_id="m1",
    )


def test_each_failure_goes_to_the_next_delay_and_then_to_a_person() -> None:
    message = delivery(traceparent="t")
    delays = []
    while True:
        after = POLICY.after(message, Retryable("away"), jitter=0.0)
        if isinstance(after, Permanent):
            break
        delays.append((after.routing_key, after.expiration_ms))
        assert after.message_id == "m1"
        assert after.headers["traceparent"] == "t"
        message = delivery(**after.headers)
    assert delays == [("hitl.router.retry.5s", 5_000), ("hitl.router.retry.30s", 30_000)]
    assert after.reason == "retries_exhausted"
    assert "failed 3 times" in after.detail


def test_what_is_only_not_there_yet_is_tried_for_as_long_as_it_takes() -> None:
    message = delivery()
    for delay in ("5s", "30s", "30s", "30s"):
        after = POLICY.after(message, NotYet("no policy yet"), jitter=0.0)
        assert isinstance(after, Outgoing)
        assert after.routing_key == f"hitl.router.retry.{delay}"
        message = delivery(**after.headers)


def test_jitter_only_ever_shortens_the_delay_and_by_half_at_most() -> None:
    after = POLICY.after(delivery(), Retryable("away"), jitter=0.999)
    assert isinstance(after, Outgoing)
    assert 2_500 <= (after.expiration_ms or 0) <= 5_000


def test_a_copy_remembers_where_it_was_first_published() -> None:
    after = POLICY.after(delivery(), Retryable("away"), jitter=0.0)
    assert isinstance(after, Outgoing)
    assert after.headers["x-hitl-exchange"] == "hitl.events"
    assert after.headers["x-hitl-routing-key"] == "item.scored.sentiment"


def test_a_copy_says_how_its_body_is_encoded_as_the_original_did() -> None:
    # Given a body that its producer has packed; if it is delayed or set aside
    packed = replace(delivery(), content_encoding="gzip", content_type="application/json")
    again = POLICY.after(packed, Retryable("away"), jitter=0.0)
    letter = dead_letter(packed, Permanent("not_utf8", "packed"), failed_at="now")
    # I expect the copy to say so, too: nobody can read those bytes who does not know it
    for copy in (again, letter):
        assert isinstance(copy, Outgoing)
        assert (copy.content_encoding, copy.content_type) == ("gzip", "application/json")


def test_the_brokers_own_death_record_is_left_behind() -> None:
    after = POLICY.after(
        delivery(**{"x-death": [{}], "x-delivery-count": 3}), Retryable("away"), jitter=0.0
    )
    assert isinstance(after, Outgoing)
    assert not {"x-death", "x-delivery-count"} & set(after.headers)


def test_a_message_that_ends_its_consumer_is_stopped_at_the_limit() -> None:
    assert POLICY.died_too_often(delivery(**{"x-delivery-count": 4}), takes_counted=False) is None
    error = POLICY.died_too_often(delivery(**{"x-delivery-count": 5}), takes_counted=False)
    assert error is not None
    assert error.reason == "delivery_limit"
    # Given back, or taken back by RabbitMQ 4.3 from who held it for too long: no consumer ended.
    assert POLICY.died_too_often(delivery(**{"x-acquired-count": 50}), takes_counted=False) is None


def test_a_dead_letter_says_why_in_its_headers() -> None:
    letter = dead_letter(delivery(), Permanent("schema", "text: missing"), failed_at="now")
    assert letter.routing_key == "hitl.router.dlq"
    assert letter.body == b"{}"
    assert letter.headers["x-hitl-reason"] == "schema"
    assert letter.headers["x-hitl-error"] == "text: missing"
    assert letter.headers["x-hitl-queue"] == "hitl.router"


def test_a_copy_says_to_others_what_its_original_said() -> None:
    # Given a message that has every property
    others = {
        "reply_to": "answers", "correlation_id": "17", "expiration": "5000",
        "user_id": "shop", "app_id": "shop 2.1", "cluster_id": "c",
    }  # fmt: skip
    message = replace(delivery(), type="review", priority=0, others=others)
    again = POLICY.after(message, Retryable("away"), jitter=0.0)
    letter = dead_letter(message, Permanent("schema", "no"), failed_at="now")
    for copy in (again, letter):
        # I expect both copies to have what is for others
        assert isinstance(copy, Outgoing)
        assert copy.type == "review"
        assert copy.others == {
            "reply_to": "answers", "correlation_id": "17", "app_id": "shop 2.1", "cluster_id": "c"
        }  # fmt: skip
        # and to note what the broker would act on, or refuse
        assert copy.priority is None
        assert copy.headers["x-hitl-user-id"] == "shop"
        assert copy.headers["x-hitl-expiration"] == "5000"
        assert copy.headers["x-hitl-priority"] == 0
    # The delay of a retry is ours
    assert isinstance(again, Outgoing)
    assert (again.expiration_ms, letter.expiration_ms) == (5_000, None)
    # And a letter on its way back gets its producer's priority again
    assert first_priority(delivery(**letter.headers)) == 0
    assert first_priority(delivery(**{"x-hitl-priority": 10**9})) == 255
    assert first_priority(delivery()) is None


def test_a_copy_asks_for_no_answer_where_the_broker_would_refuse_to_take_it() -> None:
    # RabbitMQ closes a channel that publishes with this one and does not read answers itself.
    message = replace(delivery(), others={"reply_to": "amq.rabbitmq.reply-to"})
    letter = dead_letter(message, Permanent("schema", "no"), failed_at="now")
    assert letter.others is None
