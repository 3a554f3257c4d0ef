"""Which trace does this work belong to?

W3C Trace Context (https://www.w3.org/TR/trace-context/): the trace id of the producer is kept,
each hop gets a parent id of its own, and what is malformed is replaced, never passed on.
"""

import random
import re
import secrets

from shared.messages import Delivery, attribute_names

# Version ff, and ids of zeros alone, are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})"
)
_HEADERS = ("traceparent", *attribute_names("traceparent"))


def trace_of(delivery: Delivery) -> str:
    """The delivery's traceparent where it is valid, else the start of a new trace."""
    return given_trace(delivery) or new_trace()


def given_trace(delivery: Delivery) -> str | None:
    """The delivery's traceparent; None where it has no valid one."""
    given = named_trace(delivery)
    return given if given is not None and trace_id(given) is not None else None


def named_trace(delivery: Delivery) -> str | None:
    """What the delivery names as its traceparent, valid or not: `next_hop` looks at it anyway."""
    return delivery.header(*_HEADERS)


def new_trace() -> str:
    """A fresh, sampled traceparent."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def next_hop(traceparent: str) -> str:
    """The same trace with a new parent id, to be sent on."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return new_trace()
    # No secret, so not worth a system call for each message.
    parent = random.getrandbits(64) or 1
    return f"00-{match[1]}-{parent:016x}-{match[2]}"


def trace_id(traceparent: str | None) -> str | None:
    """The 32 hex digits that name the trace; None for no or an invalid traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return None if match is None else match[1]
