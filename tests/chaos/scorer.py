"""What stands in for the model, so that the pipeline and not the machine is what is tested?

The inference service as it is (handler, worker, queues), with a model that answers by a hash: about
one item in ten is unsure. The text "kill me" ends the process, as a broken native library would.
"""

import hashlib
import os
import signal
from collections.abc import Sequence

from services.inference.classifier import Prediction
from services.inference.handler import InferenceHandler, Served
from shared.clock import utc_now
from shared.messaging.worker import Worker
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.topology import inference_queue, topology

POISON = "kill me"
UNSURE = 0.1


class Hashed:
    """Labels and confidence as a function of the text alone."""

    labels = ("negative", "positive")
    model_version = "stand-in@1"

    def classify(self, texts: Sequence[str]) -> list[Prediction]:
        """One answer a text; dies on POISON."""
        if POISON in texts:
            os.kill(os.getpid(), signal.SIGKILL)
        return [self._answer(text) for text in texts]

    def _answer(self, text: str) -> Prediction:
        draw = hashlib.sha256(text.encode()).digest()
        sure = 0.6 if draw[0] < 256 * UNSURE else 0.95
        pair = (sure, 1 - sure) if draw[1] % 2 else (1 - sure, sure)
        return Prediction(distribution=pair, truncated=False, windows=1, tokens=len(text.split()))


def main() -> None:
    settings = Settings.from_environment(os.environ)
    queue = inference_queue("sentiment")
    with service("inference", port=settings.inference_port, settings=settings) as lifecycle:
        Worker(
            service="inference",
            settings=settings,
            topology=topology(["sentiment"], settings.retry_delays_seconds),
            lifecycle=lifecycle,
            queues=[queue],
            handler=InferenceHandler(
                {queue: Served("sentiment", Hashed())},
                max_body_bytes=settings.max_body_bytes,
                clock=utc_now,
            ),
            prefetch=settings.inference_prefetch,
            max_batch=max(1, settings.inference_prefetch // 2),
        ).run()


if __name__ == "__main__":
    main()
