"""What becomes of what nobody should have sent? A row or a dead letter with a reason; never a loss,
never a crash loop, and the item after it is served as if nothing had been."""

import json
import uuid

from tests.support.amqp_client import Received, outsider, until
from tests.support.pipeline import Pipeline

UNREADABLE: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"this is not JSON", "not_json"),
    "an empty body": (b"", "not_json"),
    "half a JSON": (b'{"text": "cut', "not_json"),
    "a list": (b'["text"]', "schema"),
    "no text": (b'{"txt": "hello"}', "schema"),
    "text is a number": (b'{"text": 5}', "schema"),
    "metadata is a list": (b'{"text": "hello", "metadata": [1]}', "schema"),
    "an id of 10 kB": (json.dumps({"text": "hello", "id": "i" * 10_000}).encode(), "schema"),
    "an empty text": (b'{"text": ""}', "empty_text"),
    "only white space": (b'{"text": " \\n\\t "}', "empty_text"),
    "only NUL": (b'{"text": "\\u0000"}', "empty_text"),
    "Latin-1": ('{"text": "caf\u00e9"}'.encode("latin-1"), "not_utf8"),
    "UTF-16": ('{"text": "hello"}'.encode("utf-16"), "not_utf8"),
    "half a surrogate pair": (b'{"text": "\\ud83d"}', "not_json"),
    "above one MiB": (json.dumps({"text": "x" * 1_100_000}).encode(), "too_large"),
    "nested without end": (
        b'{"text": "a", "metadata": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        "not_json",
    ),
}

READABLE: dict[str, str] = {
    "emoji": "\U0001f600\U0001f44d\U0001f3fd what a film \U0001f468\u200d\U0001f469",
    "right to left": "\u0641\u064a\u0644\u0645 \u0631\u0627\u0626\u0639 \u202eabc\u202c",
    "NUL inside": "a good\0 film",
    "control characters": "good \x01\x02\x1b[31m film",
    "longer than any window": "a dull and endless film " * 5_000,
    "markup": "<script>alert(1)</script> '; DROP TABLE item; --",
    "one character": "x",
    "combining marks": "Z\u0351\u036e\u0306a\u0300\u0301lgo" * 50,
}


FAILED = "SELECT count(*) FROM item WHERE status = 'FAILED'"
PREDICTED = "SELECT data -> 'prediction' FROM event WHERE type = 'item.scored' AND item_id = %s"


def test_each_bad_message_ends_where_a_person_can_find_it(pipeline: Pipeline) -> None:
    # Given services that may set a message aside at their own queues and nowhere else
    before = pipeline.count(FAILED)
    with outsider(pipeline.amqp_url) as program:
        for name, (body, _) in UNREADABLE.items():
            program.publish(body, message_id=name)
        for name, text in READABLE.items():
            program.publish(json.dumps({"id": name, "text": text}))
        program.publish(json.dumps({"id": "last", "text": "a fine film"}))

        # The readable ones become rows, whatever characters they hold.
        readable = {*READABLE, "last"}
        routed = (
            "SELECT id, text FROM item WHERE status IN ('AI_ACCEPTED', 'HUMAN_REVIEW')"
            " AND id = ANY(%s)"
        )

        def stored() -> dict[str, str]:
            return dict(pipeline.rows(routed, [*readable, *UNREADABLE]))

        until(lambda: stored().keys() == readable, seconds=60)
        texts = stored()
        assert texts["NUL inside"] == "a good\ufffd film", "Postgres stores no NUL: it is marked"
        assert all(texts[name] == text for name, text in READABLE.items() if "\0" not in text)
        [(long,)] = pipeline.rows(PREDICTED, "longer than any window")
        assert long["windows"] > 1
        assert long["truncated"] is True
        assert pipeline.rows("SELECT status FROM item WHERE id = 'longer than any window'") == [
            ("HUMAN_REVIEW",)
        ], "the machine does not decide on what it has not fully read"

        # The others are dead letters with their bytes and a reason, and FAILED rows.
        letters = program.take("hitl.sentiment.inference.dlq", len(UNREADABLE), seconds=30)
        reasons = {str(letter.message_id): letter for letter in letters}
        for name, (body, reason) in UNREADABLE.items():
            assert reasons[name].body == body, name
            assert reasons[name].headers["x-hitl-reason"] == reason, name
            assert reasons[name].headers["x-hitl-error"], name
        until(lambda: pipeline.count(FAILED) == before + len(UNREADABLE))
        # Nothing went round in circles.
        assert program.ready("hitl.sentiment.inference") == 0
        assert program.ready("hitl.sentiment.inference.retry.5s") == 0
        assert all(pipeline.ready(service) for service in pipeline.processes)


def test_an_unknown_workflow_is_kept_and_recorded(pipeline: Pipeline) -> None:
    ids = {f"of {key}": key for key in ("nosuch", "", "Not A Name")}
    with outsider(pipeline.amqp_url) as program:
        for item_id, key in ids.items():
            program.publish(json.dumps({"id": item_id, "text": "hello"}), routing_key=key)
        until(lambda: program.ready("hitl.unroutable") == 3)
        failed = "SELECT id, failure FROM item WHERE status = 'FAILED' AND id = ANY(%s)"
        until(lambda: len(pipeline.rows(failed, [*ids])) == 3)
        assert all("unknown_workflow" in row[1] for row in pipeline.rows(failed, [*ids]))


def test_events_that_only_look_like_ours_are_set_aside(pipeline: Pipeline) -> None:
    """Another program publishes scores of its own: NaN, out of range, of an unknown version."""

    def scored(confidence: str, **more: object) -> str:
        body = json.dumps(
            {
                "workflow": "sentiment",
                "occurred_at": "2026-01-01T00:00:00Z",
                "item": {
                    "id": str(uuid.uuid4()),
                    "text": "hello",
                    "received_at": "2026-01-01T00:00:00Z",
                },
                "prediction": {
                    "label": "positive",
                    "confidence": 0.123456,
                    "distribution": {"positive": 1.0},
                    "model_version": "theirs",
                },
                **more,
            }
        )
        return body.replace("0.123456", confidence)

    with outsider(pipeline.amqp_url) as program:

        def publish(body: str, **headers: str) -> None:
            program.publish(
                body, exchange="hitl.events", routing_key="item.scored.sentiment", headers=headers
            )

        publish(scored("NaN"))
        publish(scored("1.5"))
        publish(scored("Infinity"))
        publish(scored("0.9", workflow="nosuch"))
        publish(scored("0.9"), cloudEvents_schemaversion="99")
        publish("{}")
        publish(scored("0.97"))  # and one that is right: other programs may score, too
        letters: list[Received] = program.take("hitl.router.dlq", 6, seconds=30)
        assert sorted(str(letter.headers["x-hitl-reason"]) for letter in letters) == [
            "schema", "schema", "schema", "schema", "unknown_type", "unknown_workflow",
        ]  # fmt: skip
        [accepted] = program.take("hitl.sentiment.accepted", 1)
        assert json.loads(accepted.body)["decision"]["model_version"] == "theirs"
        # The log cannot read five of them either; the unknown workflow is a fact like any other.
        until(lambda: program.ready("hitl.log.dlq") == 5)
        assert all(pipeline.ready(service) for service in pipeline.processes)
