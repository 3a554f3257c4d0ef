"""The logger: writes every event into Postgres, once, and keeps one row per item."""

import os
import sys

from services.logger.handler import PORTIONS, SWITCH_SECONDS, Logger
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.storage.database import connect, readiness
from shared.storage.refused_rows import writable
from shared.topology import LOG_QUEUE, topology
from shared.workflows.feed import WorkflowFeed
from shared.workflows.files import Workflow

LINGER_SECONDS = 0.05  # a fuller batch costs less a row; nobody waits for the log
MOST_PREFETCH = 65_535  # what AMQP can say
# Items of up to a megabyte: twelve thousand of them would be 12 GB.
MOST_BYTES = 64 * 1_024 * 1_024


def main() -> None:
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    batch = PORTIONS * settings.log_batch_rows
    sys.setswitchinterval(SWITCH_SECONDS)
    engine = connect(settings.database_url.get_secret_value(), application="hitl-logger")
    with service("logger", port=settings.logger_port, settings=settings) as lifecycle:
        files = WorkflowFeed(settings, lambda _workflow: None)
        lifecycle.add_refusals(files.refused)
        lifecycle.add_check("workflows", files.problem)
        lifecycle.add_check("postgres", readiness(engine))
        worker = Worker(
            service="logger",
            settings=settings,
            topology=topology(list(files.workflows), settings.retry_delays_seconds),
            lifecycle=lifecycle,
            queues=[LOG_QUEUE],
            handler=Logger(
                engine,
                workflows=files,
                portion_rows=settings.log_batch_rows,
                max_body_bytes=settings.max_body_bytes,
                clock=utc_now,
            ),
            # While a batch is in the database, half of the next one is on its way.
            prefetch=min(max(settings.prefetch, batch * 3 // 2), MOST_PREFETCH),
            max_batch=batch,
            linger_seconds=LINGER_SECONDS,
            most_bytes=MOST_BYTES,
            store=writable(engine, "event", "item", "ledger_block"),
            rights=USERS["logger"],
            refuse=files.refuse,
        )

        def begin(workflow: Workflow) -> None:
            worker.add(topology([workflow.name], settings.retry_delays_seconds))

        files.follow(begin, lifecycle.stopping)
        worker.run()


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(f"logger: {error}")
