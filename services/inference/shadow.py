"""The shadow scorer: what a candidate model would have answered, unnoticed by the live one.

A thread of the inference process. The worker hands over items that it has answered; they are scored
at the lowest priority, while no item is being scored, and dropped when there are too many. Best
effort: nothing is retried, and whatever goes wrong leaves the item without a shadow score.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from services.inference.background import in_background
from services.inference.classifier import Prediction as Scores
from services.inference.handler import Candidate, prediction_of
from shared.clock import Clock
from shared.errors import Overloaded
from shared.events.envelope import encode
from shared.events.models import ItemScored, ItemShadowScored
from shared.hashing import place01
from shared.messages import Outgoing
from shared.messaging.connection import Broker
from shared.service.metrics import SHADOW_SCORES
from shared.service.settings import Settings

logger = logging.getLogger(__name__)

MAX_WAITING = 1_000  # items; what comes then is dropped
MAX_CHARACTERS = 20_000  # a longer text is not for a shadow
PORTION_ITEMS = 8
_POLL_SECONDS = 0.05


class Offered(NamedTuple):
    """An item that the live model has answered, and who is to answer it, too."""

    candidate: Candidate
    event: ItemScored
    traceparent: str


class ShadowScorer:
    """Takes offers from the worker's thread and answers them on its own."""

    def __init__(self, settings: Settings, *, busy: Callable[[], bool], clock: Clock) -> None:
        """While `busy` says so, nothing is scored."""
        self._busy = busy
        self._clock = clock
        self._stopping = threading.Event()
        self._offered: deque[Offered] = deque()
        self._broker = Broker(settings.amqp_url.get_secret_value(), name="shadow")

    def offer(self, candidate: Candidate, event: ItemScored, traceparent: str) -> None:
        """Remember an item, if it is one of the candidate's share; returns at once."""
        if not drawn(event.item_id, candidate.share):
            return
        if len(event.item.text) > MAX_CHARACTERS or len(self._offered) >= MAX_WAITING:
            SHADOW_SCORES.labels(event.workflow, "dropped").inc()
            return
        self._offered.append(Offered(candidate, event, traceparent))

    def in_background(self) -> AbstractContextManager[None]:
        """Works on a thread of its own for the length of the block."""
        return in_background("shadow", self._run, self._stopping)

    def _run(self) -> None:
        connected = False
        try:
            while not self._stopping.is_set():
                if not self._offered or self._busy():
                    self._stopping.wait(_POLL_SECONDS)
                    continue
                if not connected:  # most workers never have a candidate
                    self._broker.start()
                    connected = True
                self._score(self._next_portion())
        finally:
            if connected:
                self._broker.close()

    def _next_portion(self) -> list[Offered]:
        """The oldest offers, as far as they are for the same candidate."""
        portion = [self._offered.popleft()]
        while (
            self._offered
            and len(portion) < PORTION_ITEMS
            and self._offered[0].candidate is portion[0].candidate
            and self._offered[0].event.workflow == portion[0].event.workflow
        ):
            portion.append(self._offered.popleft())
        return portion

    def _score(self, portion: list[Offered]) -> None:
        workflow = portion[0].event.workflow
        try:
            self._broker.publish(self._answers(portion))
            outcome = "scored"
        except Overloaded as error:
            outcome = "dropped"
            logger.warning("shadow scores were not published", extra={"problem": str(error)})
        except Exception:
            outcome = "failed"
            logger.exception("a shadow model failed", extra={"workflow": workflow})
        SHADOW_SCORES.labels(workflow, outcome).inc(len(portion))

    def _answers(self, portion: list[Offered]) -> list[Outgoing]:
        model = portion[0].candidate.classifier
        answers = model.classify([offered.event.item.text for offered in portion])
        return [
            encode(
                ItemShadowScored(
                    workflow=offered.event.workflow,
                    occurred_at=self._clock(),
                    shadow_item_id=offered.event.item_id,
                    prediction=prediction_of(model, answer),
                    live_label=offered.event.prediction.label,
                    live_confidence=offered.event.prediction.confidence,
                    live_model_version=offered.event.prediction.model_version,
                ),
                source="inference",
                traceparent=offered.traceparent,
            )
            for offered, answer in zip(portion, answers, strict=True)
            if isinstance(answer, Scores)
        ]


def drawn(item_id: str, share: float) -> bool:
    """Whether an item is of the share: by its id, so that it is so each time it comes by."""
    return place01("shadow", item_id) < share
