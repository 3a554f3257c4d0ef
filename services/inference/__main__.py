"""The inference worker: scores items; beside it says which words speak for a label, and what a
candidate model would have answered."""

import os
from contextlib import nullcontext
from functools import partial

from services.inference.handler import InferenceHandler, Served
from services.inference.highlighter import Highlighter
from services.inference.loading import load_as_worker
from services.inference.model_feed import ModelFeed
from services.inference.shadow import ShadowScorer
from shared.clock import utc_now
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import service, start
from shared.service.settings import Settings
from shared.topology import Topology, highlights_queue, inference_queue
from shared.workflows.files import WorkflowFile
from shared.workflows.served import follow, served_workflows

BATCH_SHARE = 2  # of the prefetch: the next batch waits here while this one is being scored


def main() -> None:
    """Serves every configured workflow; workflows with the same model and labels share it."""
    settings = Settings.from_environment(os.environ).require("amqp_url")
    with service("inference", port=settings.inference_port, settings=settings) as lifecycle:
        models = ModelFeed(settings.models, partial(load_as_worker, settings))
        served: dict[str, Served] = {}  # by queue; the handler sees what is added

        def load_model(content: WorkflowFile) -> None:
            served[inference_queue(content.workflow.name)] = models.add(content.workflow)

        def busy() -> bool:
            return worker.busy() or lifecycle.stopping.is_set()

        files, drawn = served_workflows(settings, lifecycle, load_model)
        shadow = ShadowScorer(settings, busy=busy, clock=utc_now)
        worker = Worker(
            service="inference",
            settings=settings,
            topology=drawn,
            lifecycle=lifecycle,
            queues=tuple(served),
            handler=InferenceHandler(
                served, max_body_bytes=settings.max_body_bytes, clock=utc_now, offer=shadow.offer
            ),
            prefetch=settings.inference_prefetch,
            max_batch=max(1, settings.inference_prefetch // BATCH_SHARE),
            rights=USERS["inference"],
            refuse=files.refuse,
        )
        highlighter = Highlighter(
            settings=settings,
            topology=drawn,
            served={highlights_queue(each.workflow): each for each in served.values()},
            busy=busy,
            clock=utc_now,
            refuse=files.refuse,
        )
        lifecycle.add_refusals(models.refused)

        def begin(content: WorkflowFile, more: Topology) -> None:
            load_model(content)
            name = content.workflow.name
            queue = inference_queue(name)
            worker.add(more, [queue])
            if settings.highlights:
                highlighter.add(highlights_queue(name), served[queue], more)

        models.follow(lifecycle.stopping)
        follow(files, begin, settings, lifecycle)
        with (
            highlighter.in_background() if settings.highlights else nullcontext(),
            shadow.in_background(),
        ):
            worker.run()


if __name__ == "__main__":
    start("inference", main)
