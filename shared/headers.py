"""Which headers of a foreign message can be sent on with it, to be tried again or set aside?

Not all that pika reads can it write (a float of 1e19), and a copy has headers of ours as well, in
the one frame that has to hold them all. What cannot be sent on would end our connection, and come
again, and end the next one.
"""

import logging
from collections.abc import Mapping

from pika.data import encode_value

from shared.messages import short_text

logger = logging.getLogger(__name__)

MOST_BYTES = 100_000  # of the 131 072 of a frame; ours take 10 000 at most
_DEEPER = 60  # calls of Python's: where a copy is written, more of them are under way than here


def sendable(headers: Mapping[str | bytes, object]) -> dict[str, object]:
    """Those of `headers`, as pika reads them, that can be sent on; where they are too many, all but
    the largest."""
    kept: dict[str, object] = {}
    sizes: dict[str, int] = {}
    for key, value in headers.items():
        name = short_text(key)
        try:
            sizes[name] = len(name.encode()) + encode_value([], _within(value))
        except Exception as error:
            logger.warning("the header %r cannot be sent on and is left out: %s", name[:60], error)
        else:
            kept[name] = value
    excess = sum(sizes.values()) - MOST_BYTES
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True) if excess > 0 else ():
        if excess > 0:
            logger.warning("the headers are too large; %r is left out", name[:60])
            excess -= sizes[name]
            del kept[name]
    return kept


def _within(value: object) -> object:
    for _ in range(_DEEPER):
        value = [value]
    return value
