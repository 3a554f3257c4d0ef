"""The review UI: requests for review become tasks, people decide, their decisions are published."""

import os
from datetime import timedelta

from services.review_ui.app import count, make_app, make_context
from services.review_ui.outbox.pruning import Pruning
from services.review_ui.outbox.relay import Relay
from services.review_ui.server import listen, run_until_stopped
from services.review_ui.tasks.intake import Intake
from services.review_ui.webhooks.post import http_post
from services.review_ui.webhooks.sender import Sender
from shared.clock import utc_now
from shared.messaging.connection import Broker
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import respond, service, start
from shared.service.settings import Settings
from shared.storage.database import connect, readiness
from shared.storage.refused_rows import writable
from shared.topology import Topology, review_queue
from shared.workflows.files import WorkflowFile
from shared.workflows.served import follow, served_workflows

# Requests of up to a megabyte each: SQLAlchemy takes a dozen times a batch's bytes.
MAX_BYTES = 8 * 1_024 * 1_024


def main() -> bool:
    """Serves people and programs; False where a part of it ended by itself."""
    keys = ("amqp_url", "database_url", "session_secret")
    settings = Settings.from_environment(os.environ).require(*keys)
    database_url = settings.database_url.get_secret_value()
    # Requests run on up to 40 threads: those that find no connection wait for their turn.
    engine = connect(database_url, pool_size=16, application="hitl-review")
    bound = listen(settings.http_host, settings.review_port)
    with service("review-ui", port=None, settings=settings) as lifecycle:
        files, drawn = served_workflows(settings, lifecycle)
        lifecycle.add_check("postgres", readiness(engine))
        broker = Broker(settings.amqp_url.get_secret_value(), name="review", topology=drawn,
                        rights=USERS["review_ui"], refuse=files.refuse)  # fmt: skip
        context = make_context(settings, files.workflows, engine, utc_now,
                               lambda path: respond(lifecycle, path), broker.publish,
                               lifecycle.spans)  # fmt: skip
        worker = Worker(service="review-ui", settings=settings, topology=drawn, lifecycle=lifecycle,
                        queues=[review_queue(name) for name in files.workflows],
                        prefetch=settings.prefetch, handler=Intake(engine, utc_now), max_batch=500,
                        max_bytes=MAX_BYTES, rights=USERS["review_ui"], refuse=files.refuse,
                        store=writable(engine, "review_task", "item", "highlight"))  # fmt: skip

        def begin(content: WorkflowFile, more: Topology) -> None:
            worker.add(more, [review_queue(content.workflow.name)])
            broker.add(more)
            count(content.workflow.name)

        follow(files, begin, settings, lifecycle)
        pruning = Pruning(engine, utc_now, timedelta(days=settings.keep_sent_days))
        sent = None if lifecycle.spans is None else lifecycle.spans.sent
        relay = Relay(engine, broker, utc_now, pruning.step, sent)
        lifecycle.add_check("relay", relay.problem)
        post = http_post(private=settings.webhook_private,
                         timeout_seconds=settings.webhook_timeout_seconds)  # fmt: skip
        webhooks = Sender(engine, post, utc_now, settings.webhook_retry_seconds)
        lifecycle.add_check("webhooks", webhooks.problem)
        return run_until_stopped(make_app(context), bound, intake=worker.run, relay=relay.run,
                                 webhooks=webhooks.run, lifecycle=lifecycle, broker=broker,
                                 seconds=settings.shutdown_seconds)  # fmt: skip


if __name__ == "__main__":
    start("review-ui", main)
