"""The logger: writes every event into Postgres, once, and keeps one row per item."""

import os
import sys

from services.logger.handler import Logger
from shared.clock import utc_now
from shared.database import connect, readiness
from shared.errors import ConfigurationError
from shared.lifecycle import service
from shared.settings import Settings
from shared.topology import LOG_QUEUE, topology
from shared.worker import Worker
from shared.workflows import configured_workflows

LINGER_SECONDS = 0.05  # a fuller batch costs less a row; nobody waits for the log
MOST_PREFETCH = 65_535  # what AMQP can say


def main() -> None:
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    workflows = tuple(configured_workflows(settings))
    engine = connect(settings.database_url.get_secret_value(), application="hitl-logger")
    with service("logger", port=settings.logger_port, settings=settings) as lifecycle:
        lifecycle.add_check("postgres", readiness(engine))
        Worker(
            service="logger",
            settings=settings,
            topology=topology(workflows, settings.retry_delays_seconds),
            lifecycle=lifecycle,
            queues=[LOG_QUEUE],
            handler=Logger(
                engine,
                workflows=workflows,
                max_body_bytes=settings.max_body_bytes,
                clock=utc_now,
            ),
            # One batch in the database, the next one on its way.
            prefetch=min(max(settings.prefetch, 2 * settings.log_batch_rows), MOST_PREFETCH),
            max_batch=settings.log_batch_rows,
            linger_seconds=LINGER_SECONDS,
        ).run()


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(f"logger: {error}")
