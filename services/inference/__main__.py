"""Starts the inference worker: models loaded, then items scored until told to stop; beside it, what
words speak for a label."""

import os
import sys
from contextlib import nullcontext

from services.inference.classifier import Classifier, load
from services.inference.handler import InferenceHandler, Served
from services.inference.highlighter import Highlighter
from services.inference.proving import Proof
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.lifecycle import service
from shared.settings import Settings
from shared.topology import highlights_queue, inference_queue, topology
from shared.worker import Worker
from shared.workflows import configured_workflows

BATCH_SHARE = 2  # of the prefetch: the next batch waits here while this one is being scored


def main() -> None:
    """Serves every configured workflow; workflows with the same model and labels share it."""
    settings = Settings.from_environment(os.environ).require("amqp_url")
    with service("inference", port=settings.inference_port, settings=settings) as lifecycle:
        workflows = configured_workflows(settings)
        models: dict[tuple[str, tuple[str, ...]], Classifier] = {}
        for workflow in workflows.values():
            key = (workflow.model, workflow.labels)
            if key not in models:
                models[key] = load(
                    workflow.model,
                    labels=workflow.labels or None,
                    threads=settings.model_threads,
                    token_budget=settings.token_budget,
                    precision=settings.precision,
                    proof=Proof(settings.precision_texts, settings.home / "precision"),
                )
        served = {
            inference_queue(name): Served(name, models[workflow.model, workflow.labels])
            for name, workflow in workflows.items()
        }
        shape = topology(tuple(workflows), settings.retry_delays_seconds)
        worker = Worker(
            service="inference",
            settings=settings,
            topology=shape,
            lifecycle=lifecycle,
            queues=tuple(served),
            handler=InferenceHandler(served, max_body_bytes=settings.max_body_bytes, clock=utc_now),
            prefetch=settings.inference_prefetch,
            max_batch=max(1, settings.inference_prefetch // BATCH_SHARE),
        )
        highlighter = Highlighter(
            settings=settings,
            topology=shape,
            served={highlights_queue(each.workflow): each for each in served.values()},
            busy=lambda: worker.busy() or lifecycle.stopping.is_set(),
            clock=utc_now,
        )
        with highlighter.beside() if settings.highlights else nullcontext():
            worker.run()


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(f"inference: {error}")
