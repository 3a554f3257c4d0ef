"""The handler of inference: a producer's message becomes a scored item."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.inference.classifier import Prediction as Scores
from shared.answers.base import PLAIN, AnswerSpec
from shared.clock import Clock
from shared.errors import Permanent, Retryable, unforeseen
from shared.events.answered import AnswerItem, AnswerPrediction, AnswerScored, AnswerSubmitted
from shared.events.envelope import encode
from shared.events.models import ItemScored, ItemSubmitted, Prediction
from shared.events.submissions import receive_item
from shared.events.traceparent import traceparent_of, valid_or_new
from shared.messages import Delivery, Result
from shared.service.metrics import CONFIDENCE, INFERENCE_BATCH_SIZE, ITEM_AGE, PREDICTIONS

logger = logging.getLogger(__name__)


class Scorer(Protocol):
    """What the handler needs of a model: see `classifier.Classifier` and `heads`."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def model_version(self) -> str: ...

    def classify(self, texts: Sequence[str]) -> Sequence[Scores | AnswerPrediction]: ...


BROUGHT = "producer"
"""Stands for the versions of predictions that come with items, in metrics."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that scores a share of the items after the live one, and decides nothing."""

    classifier: Scorer
    share: float


@dataclass(slots=True)
class Served:
    """What one queue's items are scored for, and by which model. Another thread may put another
    model in its place at any time: whoever scores a batch takes it once. Without a model, what is
    predicted comes with the items, if at all."""

    workflow: str
    classifier: Scorer | None
    candidate: Candidate | None = None
    spec: AnswerSpec = PLAIN


Offer = Callable[[Candidate, ItemScored, str], None]
"""Takes what a candidate may answer, too; must return at once."""


class InferenceHandler:
    """Reads, scores and answers; what one text does to the model, its neighbours do not notice."""

    def __init__(
        self,
        served: Mapping[str, Served],
        *,
        max_body_bytes: int,
        clock: Clock,
        offer: Offer | None = None,
    ) -> None:
        """`served` is by queue."""
        self._served = served
        self._offer = offer
        self._max_body_bytes = max_body_bytes
        self._clock = clock

    def handle(self, batch: Sequence[Delivery]) -> Sequence[Result]:
        """One `item.scored` per readable item.

        Raises:
            Permanent, Retryable, Exception: the model failed on the batch; the worker bisects it.
        """
        results: list[Result] = [()] * len(batch)
        readable: dict[str, list[tuple[int, ItemSubmitted]]] = {}
        for index, delivery in enumerate(batch):
            try:
                served = self._served[delivery.queue]
                submitted = receive_item(
                    delivery,
                    workflow=served.workflow,
                    max_body_bytes=self._max_body_bytes,
                    clock=self._clock,
                    spec=served.spec,
                )
            except Permanent as error:
                results[index] = error
            else:
                readable.setdefault(delivery.queue, []).append((index, submitted))
        for queue, entries in readable.items():
            served = self._served[queue]
            model, candidate = served.classifier, served.candidate
            predictions = self._predict(model, [submitted for _, submitted in entries])
            for (index, submitted), prediction in zip(entries, predictions, strict=True):
                event = self._scored(served, submitted, prediction)
                traceparent = valid_or_new(traceparent_of(batch[index]))
                results[index] = (encode(event, source="inference", traceparent=traceparent),)
                if (
                    candidate is not None
                    and self._offer is not None
                    and isinstance(event, ItemScored)
                ):
                    self._offer(candidate, event, traceparent)
        return results

    def _predict(
        self, model: Scorer | None, entries: Sequence[ItemSubmitted]
    ) -> list[Prediction | AnswerPrediction | None]:
        """In their order: what an item brings, else what the model says, if there is one."""
        found = [
            event.prediction if isinstance(event, AnswerSubmitted) else None for event in entries
        ]
        left = [place for place, prediction in enumerate(found) if prediction is None]
        if model is not None and left:
            scores = self._score(model, [entries[place].item.text for place in left])
            for place, score in zip(left, scores, strict=True):
                found[place] = prediction_of(model, score) if isinstance(score, Scores) else score
        return found

    def _score(self, classifier: Scorer, texts: list[str]) -> Sequence[Scores | AnswerPrediction]:
        INFERENCE_BATCH_SIZE.observe(len(texts))
        try:
            return classifier.classify(texts)
        except Permanent:
            raise
        except MemoryError as error:
            raise Retryable(f"out of memory on {len(texts)} texts") from error
        except Exception as error:
            if len(texts) == 1:
                logger.exception("the model failed on a text")
                why = f"the model failed on this text: {unforeseen(error)}"
                raise Permanent("unscorable", why) from error
            raise

    def _scored(
        self,
        served: Served,
        submitted: ItemSubmitted,
        prediction: Prediction | AnswerPrediction | None,
    ) -> ItemScored | AnswerScored:
        workflow, item, now = served.workflow, submitted.item, self._clock()
        if prediction is not None:
            _count(served, prediction)
            CONFIDENCE.labels(workflow).observe(prediction.confidence)
        age = (now - item.received_at).total_seconds()
        ITEM_AGE.labels("scored").observe(max(age, 0.0))
        if isinstance(prediction, Prediction):
            return ItemScored(workflow=workflow, occurred_at=now, item=item, prediction=prediction)
        return AnswerScored(
            workflow=workflow,
            occurred_at=now,
            item=item if isinstance(item, AnswerItem) else AnswerItem.of(item),
            kind=served.spec.kind,
            prediction=prediction,
        )


def _count(served: Served, prediction: Prediction | AnswerPrediction) -> None:
    """By name, where the workflow's file says which there are; producers may send any version."""
    model = served.classifier
    own = model is not None and prediction.model_version == model.model_version
    version = prediction.model_version if own else BROUGHT
    kind = served.spec.kind
    names = prediction.names if kind in ("label", "labels", "spans") else (kind,)
    for name in names or ("(none)",):
        PREDICTIONS.labels(served.workflow, name, version).inc()


def prediction_of(model: Scorer, scores: Scores) -> Prediction:
    """A model's answer for one text, as events carry it."""
    distribution = dict(zip(model.labels, scores.distribution, strict=True))
    label = max(distribution, key=distribution.__getitem__)
    return Prediction(
        label=label,
        confidence=distribution[label],
        distribution=distribution,
        model_version=model.model_version,
        tokens=scores.tokens,
        windows=scores.windows,
        truncated=scores.truncated,
    )
