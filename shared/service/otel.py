"""OpenTelemetry spans, where a collector is named: where an item spent its time.

A delivery handled is a span below its traceparent; a message that leaves is one under the id that
its own traceparent carries already: nothing on the wire depends on whether anybody looks.
Attributes: https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/
"""

import secrets
import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.chance import CHANCE
from shared.errors import Overloaded, Permanent, Retryable
from shared.events.traceparent import trace_id, traceparent_of
from shared.messages import Delivery, Handler, Outgoing, Result

CLOSE_SECONDS = 3.0  # a unreachable collector must not hold up the end of a process
_SCOPE = InstrumentationScope("hitl")

Attributes = dict[str, str | int]
Times = tuple[int, int]
"""Start and end, in nanoseconds since the epoch."""


class Spans:
    """Makes the spans of one process and exports them in the background; thread-safe."""

    def __init__(self, service: str) -> None:
        """Where to, how often and how many: the standard OTEL_* variables."""
        self._resource = Resource({"service.name": service, "service.namespace": "hitl"})
        self._resource = self._resource.merge(Resource.create({"service.name": service}))
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def around(self, handler: Handler) -> Handler:
        """The handler, with a span for each of its deliveries."""
        return _Traced(handler, self)

    def processed(self, batch: Sequence[Delivery], results: Sequence[Result], times: Times) -> None:
        """A batch was handled, and these messages are about to leave."""
        for delivery, result in zip(batch, results, strict=True):
            outputs = () if isinstance(result, Permanent | Retryable) else result
            parent = _context(traceparent_of(delivery))
            sent = [(message, _context(_traceparent(message))) for message in outputs]
            # Where the producer named no trace, ours is the one that the first output carries on.
            own = _below(parent or next((context for _, context in sent if context), None))
            attributes = _of_a_message("process", delivery) | {
                "messaging.destination.name": (
                    f"{delivery.exchange}:{delivery.routing_key}:{delivery.queue}"
                ),
                "messaging.batch.message_count": len(batch),
            }
            if isinstance(result, Permanent | Retryable):
                attributes["error.type"] = getattr(result, "reason", "retried")
            name = f"process {delivery.queue}"
            self._end(name, own, SpanKind.CONSUMER, times, parent=parent, attributes=attributes)
            for message, context in sent:
                if context is not None and context.trace_id == own.trace_id:
                    self._send(message, context, own, times[1])

    def sent(self, messages: Sequence[Outgoing]) -> None:
        """Messages left that no delivery led to just now: what people decided."""
        for message in messages:
            context = _context(_traceparent(message))
            if context is not None:
                self._send(message, context, None, time.time_ns())

    def reviewed(self, traceparent: str, workflow: str, times: Times) -> None:
        """A person decided: a trace of its own, with a link to the item's, which may be old."""
        item = _context(traceparent)
        self._end(
            f"review {workflow}", _below(None), SpanKind.INTERNAL, times,
            links=() if item is None else (Link(item),),
        )  # fmt: skip

    def close(self) -> None:
        """Exports what is left, as far as that is quickly done."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)

    def _send(
        self, message: Outgoing, own: SpanContext, parent: SpanContext | None, at: int
    ) -> None:
        attributes = _of_a_message("send", message) | {
            "messaging.destination.name": f"{message.exchange}:{message.routing_key}"
        }
        name = f"send {message.exchange or message.routing_key}"
        self._end(name, own, SpanKind.PRODUCER, (at, at), parent=parent, attributes=attributes)

    def _end(
        self,
        name: str,
        own: SpanContext,
        kind: SpanKind,
        times: Times,
        *,
        parent: SpanContext | None = None,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
    ) -> None:
        failed = "error.type" in (attributes or {})
        # Made by hand, because a span of the SDK chooses its own id: ours is in the message.
        span = ReadableSpan(
            name=name,
            context=own,
            parent=parent,
            resource=self._resource,
            attributes=attributes or {},
            links=links,
            kind=kind,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=times[0],
            end_time=times[1],
            instrumentation_scope=_SCOPE,
        )
        self._processor.on_end(span)


class _Traced:
    """A handler whose deliveries are seen. A batch that failed comes again, in halves: only what
    fails alone has had its last look here."""

    def __init__(self, handler: Handler, spans: Spans) -> None:
        self._handler = handler
        self._spans = spans

    def handle(self, batch: Sequence[Delivery]) -> Sequence[Result]:
        started = time.time_ns()
        try:
            results = self._handler.handle(batch)
        except Overloaded:
            raise
        except Exception as error:
            if len(batch) == 1:
                failed = error if isinstance(error, Permanent | Retryable) else Retryable()
                self._spans.processed(batch, [failed], (started, time.time_ns()))
            raise
        if len(results) == len(batch):  # else the worker complains
            self._spans.processed(batch, results, (started, time.time_ns()))
        return results


def _of_a_message(operation: str, message: Delivery | Outgoing) -> Attributes:
    found: Attributes = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.rabbitmq.destination.routing_key": message.routing_key,
        "messaging.message.body.size": len(message.body),
    }
    return found | ({"messaging.message.id": message.message_id} if message.message_id else {})


def _traceparent(message: Outgoing) -> str | None:
    found = message.headers.get("traceparent")
    return found if isinstance(found, str) else None


def _context(traceparent: str | None) -> SpanContext | None:
    """What a valid traceparent points to; None for no or an invalid one."""
    if traceparent is None or trace_id(traceparent) is None:
        return None
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags, 16)))


def _below(parent: SpanContext | None) -> SpanContext:
    """A new span's context in the parent's trace, or in a new one."""
    span = CHANCE.getrandbits(64) or 1  # no secret
    if parent is not None:
        return SpanContext(parent.trace_id, span, False, parent.trace_flags)
    return SpanContext(secrets.randbits(128) or 1, span, False, TraceFlags(TraceFlags.SAMPLED))
