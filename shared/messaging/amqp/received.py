"""What has pika received, as we name it?"""

from typing import Any

from shared.messages import OTHERS, Delivery, short_text


def delivery_of(
    queue: str, method: Any, properties: Any, body: bytes, generation: int = 0
) -> Delivery:
    """What pika hands to the callback of `basic_consume`; its short strings may be bytes."""
    others = {
        name: short_text(value)
        for name in OTHERS
        if (value := getattr(properties, name)) is not None
    }
    return Delivery(
        queue=queue,
        exchange=short_text(method.exchange),
        routing_key=short_text(method.routing_key),
        body=body,
        headers=properties.headers or {},
        tag=method.delivery_tag,
        generation=generation,
        redelivered=method.redelivered,
        message_id=_if_given(properties.message_id),
        content_type=_if_given(properties.content_type),
        content_encoding=_if_given(properties.content_encoding),
        timestamp=properties.timestamp,
        type=_if_given(properties.type),
        priority=properties.priority,
        others=others or None,
    )


def _if_given(value: Any) -> str | None:
    return None if value is None else short_text(value)
