"""The trace that work belongs to, as a traceparent.

W3C Trace Context (https://www.w3.org/TR/trace-context/): the trace id of the producer is kept,
each hop gets a parent id of its own, and what is malformed is replaced, never passed on.
"""

import re
import secrets

from shared.chance import CHANCE
from shared.messages import Delivery, attribute_names

# Version ff, and ids of zeros alone, are invalid.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})"
)

_HEADERS = ("traceparent", *attribute_names("traceparent"))


def traceparent_of(delivery: Delivery) -> str | None:
    """What a delivery names as its traceparent, valid or not: whoever uses it looks anyway."""
    return delivery.header(*_HEADERS)


def valid_or_new(traceparent: str | None) -> str:
    """The traceparent where it is valid, else the start of a new trace."""
    return traceparent if traceparent and trace_id(traceparent) else new_trace()


def new_trace() -> str:
    """A fresh, sampled traceparent."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def next_hop(traceparent: str | None) -> str:
    """The same trace with a new parent id, to be sent on; of none or an invalid one, a new one."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None:
        return new_trace()
    # No secret, so not worth a system call for each message.
    parent = CHANCE.getrandbits(64) or 1
    return f"00-{match[1]}-{parent:016x}-{match[2]}"


def trace_id(traceparent: str | None) -> str | None:
    """The 32 hex digits that name the trace; None for no or an invalid traceparent."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    return None if match is None else match[1]
