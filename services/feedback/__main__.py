"""The certifier: from which score on may the machine decide alone, and when no longer?"""

import os
import sys
from datetime import timedelta

from services.feedback.service import Feedback, Policies
from shared.broker import Broker
from shared.database import connect, readiness
from shared.errors import ConfigurationError
from shared.lifecycle import service
from shared.settings import Settings
from shared.topology import topology
from shared.workflows import workflow_paths


def main() -> None:
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    paths = workflow_paths(settings.workflows_dir, settings.workflows)
    policies = Policies(paths)
    engine = connect(settings.database_url.get_secret_value(), application="hitl-feedback")
    with service("feedback", port=settings.feedback_port, settings=settings) as lifecycle:
        broker = Broker(
            settings.amqp_url.get_secret_value(),
            name="feedback",
            topology=topology(tuple(paths), settings.retry_delays_seconds),
        )
        lifecycle.add_check("postgres", readiness(engine))
        lifecycle.add_check("rabbitmq", broker.problem)
        broker.start()
        try:
            Feedback(
                engine,
                broker,
                policies,
                lease=timedelta(seconds=settings.certificate_lease_seconds),
            ).run(lifecycle.stopping)
        finally:
            broker.close()
            engine.dispose()


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(f"feedback: {error}")
