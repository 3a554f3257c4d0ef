"""The circuit breaker: opens when so much is dead-lettered that we must be wrong.

A misconfiguration (the wrong model, a version skew) would otherwise empty a queue into its
dead-letter queue within seconds. Pure, but for the time that it is given.
"""

import time
from typing import Literal

from shared.errors import Permanent, Reason
from shared.messages import Delivery
from shared.topology import ITEMS

# A producer's malformed items are the producer's fault; stopping would punish all the others.
_SENDERS_FAULT: frozenset[Reason] = frozenset(
    {"not_json", "not_utf8", "schema", "empty_text", "too_large"}
)


class Breaker:
    """Opens after `failures` dead letters in a row and closes after `pause_seconds`; it opens again
    at the first further failure if nothing has succeeded since."""

    def __init__(self, failures: int, pause_seconds: float) -> None:
        self._limit = failures
        self._pause_seconds = pause_seconds
        self._in_a_row = 0
        self._open_until: float | None = None
        self._announced = False
        self._reason = ""

    def succeeded(self) -> None:
        """A message went through: whatever was wrong is over."""
        self._in_a_row = 0

    def failed(self, delivery: Delivery, error: Permanent) -> None:
        """A message was dead-lettered."""
        if error.reason == "edited":  # seen behind inference, and the sender's fault all the same
            return
        if delivery.exchange == ITEMS and error.reason in _SENDERS_FAULT:
            return
        self._in_a_row += 1
        self._reason = error.reason
        if self._in_a_row >= self._limit and self._open_until is None:
            self._open_until = time.monotonic() + self._pause_seconds

    def due(self, now: float) -> Literal["open", "close"] | None:
        """Whether consuming must be paused or resumed now; each change is told once."""
        if self._open_until is None:
            return None
        if not self._announced:
            self._announced = True
            return "open"
        if now < self._open_until:
            return None
        self._open_until = None
        self._announced = False
        return "close"

    def problem(self) -> str | None:
        """For readiness: why consuming is paused."""
        if self._open_until is None:
            return None
        return (
            f"{self._in_a_row} messages in a row were dead-lettered ({self._reason}): "
            "consuming is paused; look at the dead-letter queue"
        )
