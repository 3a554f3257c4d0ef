"""How does an event become an AMQP message, and back?

CloudEvents 1.0 binary mode: the attributes travel as headers (`cloudEvents_*` is written,
`cloudEvents:*` is read too), the body is the event's JSON and nothing else.
"""

from typing import TypeVar

import pydantic

from shared.errors import Permanent
from shared.events import REGISTRY, Event
from shared.messages import Delivery, Outgoing
from shared.tracing import next_hop

EVENTS_EXCHANGE = "hitl.events"
ITEMS_EXCHANGE = "hitl.items"
_DETAIL_CHARACTERS = 500

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=pydantic.BaseModel)


def encode(event: Event, *, source: str, traceparent: str) -> Outgoing:
    """The message for `hitl.events`; `source` names the service that says so."""
    event_id = event.message_id
    return Outgoing(
        exchange=EVENTS_EXCHANGE,
        routing_key=event.routing_key,
        body=event.model_dump_json().encode(),
        message_id=event_id,
        type=event.type,
        timestamp=int(event.occurred_at.timestamp()),
        headers={
            "cloudEvents_specversion": "1.0",
            "cloudEvents_id": event_id,
            "cloudEvents_type": event.type,
            "cloudEvents_source": f"/hitl/{source}",
            "cloudEvents_subject": event.item_id,
            "cloudEvents_time": event.occurred_at.isoformat(),
            "cloudEvents_schemaversion": str(event.version),
            "traceparent": next_hop(traceparent),
        },
    )


def decode(delivery: Delivery, *expected: type[E]) -> E:
    """The event in a delivery, validated; `Permanent` when it is not one of those expected."""
    kind = event_type(delivery)
    version = attribute(delivery, "schemaversion") or "1"
    known = version.isdecimal() and len(version) < 10  # int() refuses thousands of digits
    model = REGISTRY.get((kind, int(version))) if known else None
    if model is None:
        raise Permanent("unknown_type", f"no event {kind!r} of version {version[:20]!r} is known")
    for wanted in expected:
        if model is wanted:
            return parse(wanted, delivery)
    raise Permanent("unknown_type", f"event {kind!r} is not for this queue")


def event_type(delivery: Delivery) -> str:
    """The CloudEvents type, else what the routing key `<type>.<workflow>` says."""
    return (attribute(delivery, "type") or delivery.routing_key.rpartition(".")[0])[:60]


def attribute(delivery: Delivery, name: str) -> str | None:
    """A CloudEvents attribute under either prefix of the AMQP binding."""
    return delivery.header(f"cloudEvents_{name}", f"cloudEvents:{name}")


def parse(model: type[M], delivery: Delivery) -> M:
    """The body as `model`; `Permanent` says `not_utf8`, `not_json` or `schema`."""
    encoding = delivery.content_encoding or ""
    if encoding.lower() not in ("", "utf-8", "utf8", "identity"):
        raise Permanent(
            "not_utf8",
            f"content_encoding {encoding[:40]!r}: send plain UTF-8 JSON",
        )
    try:
        return model.model_validate_json(delivery.body)
    except pydantic.ValidationError as error:
        raise explain(error, delivery.body) from None


def explain(error: pydantic.ValidationError, body: bytes) -> Permanent:
    """Why a body was refused, in words that its sender can act on, without quoting the body."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Permanent("not_utf8", f"byte {wrong.start} is not UTF-8: send UTF-8 encoded JSON")
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return Permanent("not_json", problems[0]["msg"][:_DETAIL_CHARACTERS])
    listed = "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}" for problem in problems
    )
    return Permanent("schema", listed[:_DETAIL_CHARACTERS])
