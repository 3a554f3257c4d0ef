"""The logger: writes every event into Postgres, once, and keeps one row per item."""

import os
import sys

from services.logger.handler import PORTIONS, SWITCH_SECONDS, Logger
from shared.clock import utc_now
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import service, start
from shared.service.settings import Settings
from shared.storage.database import connect, readiness
from shared.storage.refused_rows import writable
from shared.topology import LOG_QUEUE
from shared.workflows.served import follow, served_workflows

LINGER_SECONDS = 0.05  # a fuller batch costs less a row; nobody waits for the log
MAX_PREFETCH = 65_535  # what AMQP can say
# Items of up to a megabyte: twelve thousand of them would be 12 GB.
MAX_BYTES = 64 * 1_024 * 1_024


def main() -> None:
    """Writes down the events of every workflow."""
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    batch = PORTIONS * settings.log_batch_rows
    sys.setswitchinterval(SWITCH_SECONDS)
    engine = connect(settings.database_url.get_secret_value(), application="hitl-logger")
    with service("logger", port=settings.logger_port, settings=settings) as lifecycle:
        files, drawn = served_workflows(settings, lifecycle)
        lifecycle.add_check("postgres", readiness(engine))
        worker = Worker(
            service="logger",
            settings=settings,
            topology=drawn,
            lifecycle=lifecycle,
            queues=[LOG_QUEUE],
            handler=Logger(
                engine,
                workflows=files,
                spec_of=files.spec_of,
                portion_rows=settings.log_batch_rows,
                max_body_bytes=settings.max_body_bytes,
                clock=utc_now,
            ),
            # While a batch is in the database, half of the next one is on its way.
            prefetch=min(max(settings.prefetch, batch * 3 // 2), MAX_PREFETCH),
            max_batch=batch,
            linger_seconds=LINGER_SECONDS,
            max_bytes=MAX_BYTES,
            store=writable(engine, "event", "item", "ledger_block"),
            rights=USERS["logger"],
            refuse=files.refuse,
        )
        follow(files, lambda _content, more: worker.add(more), settings, lifecycle)
        worker.run()


if __name__ == "__main__":
    start("logger", main)
