"""The envelope: an event as an AMQP message, and back.

CloudEvents 1.0 binary mode: the attributes travel as headers (`cloudEvents_*` is written, the other
spellings are read too), the body is the event's JSON and nothing else.
"""

from datetime import datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

import pydantic

from shared.errors import Permanent, problems_of
from shared.events.models import Event
from shared.events.registry import REGISTRY
from shared.events.traceparent import next_hop
from shared.messages import Delivery, Outgoing, attribute_names
from shared.topology import EVENTS

_DETAIL_CHARACTERS = 500

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=pydantic.BaseModel)


class Stamp(NamedTuple):
    """The time of an event, as an envelope states it; the same for a whole batch."""

    text: str
    epoch_seconds: int

    @classmethod
    def of(cls, occurred_at: datetime) -> "Stamp":
        return cls(occurred_at.isoformat(), int(occurred_at.timestamp()))


def encode(event: Event, *, source: str, traceparent: str | None) -> Outgoing:
    """The message for `hitl.events`; `source` names the service that says so, `traceparent` what it
    comes from."""
    return enclose(
        type(event),
        event.model_dump_json().encode(),
        event_id=event.message_id,
        workflow=event.workflow,
        item_id=event.item_id,
        stamp=Stamp.of(event.occurred_at),
        source=source,
        traceparent=traceparent,
    )


def enclose(
    kind: type[Event],
    body: bytes,
    *,
    event_id: str,
    workflow: str,
    item_id: str,
    stamp: Stamp,
    source: str,
    traceparent: str | None,
) -> Outgoing:
    """The same for an event of this kind whose JSON is there already."""
    routing_key, uri, version = _of_all(kind, workflow, source)
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": event_id,
        "cloudEvents_type": kind.type,
        "cloudEvents_source": uri,
        "cloudEvents_subject": item_id,
        "cloudEvents_time": stamp.text,
        "cloudEvents_schemaversion": version,
        "traceparent": next_hop(traceparent),
    }
    return Outgoing(
        EVENTS, routing_key, body, event_id, headers,
        type=kind.type, timestamp=stamp.epoch_seconds,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _of_all(kind: type[Event], workflow: str, source: str) -> tuple[str, str, str]:
    """Routing key, source and version: the same for all events of a kind and workflow."""
    return f"{kind.type}.{workflow}", f"/hitl/{source}", str(kind.version)


def decode(delivery: Delivery, *expected: type[E]) -> E:
    """The event in a delivery, validated; `Permanent` when it is not one of those expected."""
    version = delivery.header(*_SCHEMAVERSION) or "1"
    model: type[E] = _model(event_type(delivery), version, expected)
    return parse(model, delivery.body, delivery.content_encoding)


@lru_cache(maxsize=256)  # what raises is not kept
def _model(kind: str, version: str, expected: tuple[type[E], ...]) -> type[E]:
    known = version.isdecimal() and len(version) < 10  # int() refuses thousands of digits
    model = REGISTRY.get((kind, int(version))) if known else None
    if model is None:
        raise Permanent("unknown_type", f"no event {kind!r} of version {version[:20]!r} is known")
    for wanted in expected:
        if model is wanted:
            return wanted
    raise Permanent("unknown_type", f"event {kind!r} is not for this queue")


def event_type(delivery: Delivery) -> str:
    """The CloudEvents type, else what the routing key `<type>.<workflow>` says."""
    return (delivery.header(*_TYPE) or delivery.routing_key.rpartition(".")[0])[:60]


def attribute(delivery: Delivery, name: str) -> str | None:
    """A CloudEvents attribute, in any of its spellings."""
    return delivery.header(*attribute_names(name))


_TYPE, _SCHEMAVERSION = attribute_names("type"), attribute_names("schemaversion")


def parse(model: type[M], body: bytes, encoding: str | None = None) -> M:
    """The body as `model`; `encoding` is the message's content encoding.

    Raises:
        Permanent: `not_utf8`, `not_json` or `schema`.
    """
    if encoding and encoding.lower() not in ("utf-8", "utf8", "identity"):
        raise Permanent("not_utf8", f"content_encoding {encoding[:40]!r}: send plain UTF-8 JSON")
    try:
        # What `model_validate_json` calls after looking at arguments that are not given here.
        validated: M = model.__pydantic_validator__.validate_json(body)
    except pydantic.ValidationError as error:
        raise explain(error, body) from None
    return validated


def explain(error: pydantic.ValidationError, body: bytes) -> Permanent:
    """Why a body was refused, in words that its sender can act on, without quoting the body."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return Permanent("not_utf8", f"byte {wrong.start} is not UTF-8: send UTF-8 encoded JSON")
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return Permanent("not_json", problems[0]["msg"][:_DETAIL_CHARACTERS])
    return Permanent("schema", problems_of(error, "body")[:_DETAIL_CHARACTERS])
