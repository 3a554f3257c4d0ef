"""The highlighter: weighs the words of items that go to people, unnoticed by the scoring.

A thread of the inference process on a connection of its own. It shares the model, has the lowest
priority, and rests while items are being scored. Best effort: nothing is retried, nothing is set
aside, and whatever goes wrong with one text leaves it without highlights.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from queue import Empty, Queue

from services.inference.background import in_background
from services.inference.batcher import plan
from services.inference.classifier import Prediction as Scores
from services.inference.handler import Scorer, Served
from services.inference.highlights import weights, without, words
from shared.clock import Clock
from shared.events.answered import AnswerReviewRequested
from shared.events.envelope import decode, encode
from shared.events.models import Event, ItemExplained, ItemReviewRequested, WordWeight
from shared.events.traceparent import traceparent_of
from shared.messages import Delivery, Outgoing
from shared.messaging.connection import Broker
from shared.messaging.consumer import Consumer
from shared.messaging.declared import Refuse
from shared.messaging.rights import USERS
from shared.service.metrics import HIGHLIGHTS
from shared.service.settings import Settings
from shared.topology import Topology

logger = logging.getLogger(__name__)

PREFETCH = 4
PORTION_CHARACTERS = 800  # the texts of one call of the model: it takes about 40 ms on one core
_POLL_SECONDS = 0.05


class _Stopped(Exception):
    """There is no time left for this item: it goes back to its queue."""


class Highlighter:
    """Says of items that go to people which words speak for the AI's label and which against."""

    def __init__(
        self,
        *,
        settings: Settings,
        topology: Topology,
        served: Mapping[str, Served],
        busy: Callable[[], bool],
        clock: Clock,
        refuse: Refuse | None = None,
    ) -> None:
        """`served` is by queue; while `busy` says so, nothing is weighed; `refuse` is told of a
        workflow without its queues."""
        self._served = dict(served)
        self._busy = busy
        self._clock = clock
        self._delivery_limit = settings.delivery_limit
        self._stopping = threading.Event()
        self._inbox: Queue[list[Delivery]] = Queue()
        self._broker = Broker(
            settings.amqp_url.get_secret_value(),
            name="highlights",
            topology=topology,
            consumer=Consumer(
                tuple(served), prefetch=PREFETCH, take=self._inbox.put, slow_start=False
            ),
            rights=USERS["inference"],
            refuse=refuse,
        )

    def add(self, queue: str, served: Served, topology: Topology) -> None:
        """Takes from one more queue.

        Raises:
            Overloaded: RabbitMQ is unreachable; to be called again.
        """
        self._served[queue] = served
        self._broker.add(topology, [queue])

    def in_background(self) -> AbstractContextManager[None]:
        """Works on a thread of its own for the length of the block."""
        return in_background("highlights", self._run, self._stopping)

    def _run(self) -> None:
        self._broker.start()
        try:
            while not self._stopping.is_set():
                try:
                    arrived = self._inbox.get(timeout=_POLL_SECONDS)
                except Empty:
                    continue
                for delivery in arrived:
                    if delivery.generation == self._broker.generation:
                        self._broker.publish_then_ack([(delivery, self._outputs(delivery))])
        except _Stopped:
            pass
        finally:
            self._broker.close()

    def _outputs(self, delivery: Delivery) -> Sequence[Outgoing]:
        workflow = self._served[delivery.queue].workflow
        try:
            outcome, explained = self._explain(delivery)
        except _Stopped:
            raise
        except Exception:
            logger.exception("could not compute highlights for an item")
            outcome, explained = "failed", None
        HIGHLIGHTS.labels(workflow, outcome).inc()
        if explained is None:
            return ()
        return (encode(explained, source="inference", traceparent=traceparent_of(delivery)),)

    def _explain(self, delivery: Delivery) -> tuple[str, ItemExplained | None]:
        """What became of the request, and the event, if any."""
        if delivery.redelivered and delivery.count("x-delivery-count") >= self._delivery_limit:
            return "given_up", None  # it may be what ends this process
        event: Event = decode(delivery, ItemReviewRequested, AnswerReviewRequested)
        model = self._served[delivery.queue].classifier
        if model is None or not isinstance(event, ItemReviewRequested):
            return "no_label", None  # words are weighed for one label
        prediction = event.prediction
        if event.routing.blind:
            return "blind", None
        if prediction.model_version != model.model_version or prediction.label not in model.labels:
            return "other_model", None  # what this one thinks explains nothing of the other's label
        found = words(event.item.text)
        if not found:
            return ("too_long" if found is None else "no_words"), None
        text = event.item.text
        variants = [text, *(without(text, word) for word in found)]
        whole, *lacking = self._probabilities(model, variants, prediction.label)
        return "explained", ItemExplained(
            workflow=event.workflow,
            occurred_at=self._clock(),
            explained_item_id=event.item_id,
            label=prediction.label,
            model_version=model.model_version,
            words=tuple(
                WordWeight(start=start, end=end, weight=weight)
                for (start, end), weight in zip(found, weights(whole, lacking), strict=True)
            ),
        )

    def _probabilities(self, model: Scorer, texts: Sequence[str], label: str) -> list[float]:
        """The label's probability for each text, in small portions; items to score go before."""
        column = model.labels.index(label)
        found = [0.0] * len(texts)
        for portion in plan([len(text) for text in texts], PORTION_CHARACTERS):
            self._rest()
            for at, score in zip(portion, model.classify([texts[i] for i in portion]), strict=True):
                if isinstance(score, Scores):
                    found[at] = score.distribution[column]
        return found

    def _rest(self) -> None:
        while self._busy():
            if self._stopping.wait(_POLL_SECONDS):
                break
        if self._stopping.is_set():
            raise _Stopped
