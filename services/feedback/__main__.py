"""The certifier: from which score on may the machine decide alone, and when no longer?"""

import os
import sys
from datetime import timedelta

from services.feedback.service import Feedback, Policies
from shared.errors import ConfigurationError
from shared.messaging.connection import Broker
from shared.messaging.rights import USERS
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.storage.database import connect, readiness
from shared.topology import topology
from shared.workflows.feed import WorkflowFeed
from shared.workflows.files import Workflow


def main() -> None:
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    engine = connect(settings.database_url.get_secret_value(), application="hitl-feedback")
    with service("feedback", port=settings.feedback_port, settings=settings) as lifecycle:
        policies = Policies(settings.workflows_dir)
        files = WorkflowFeed(settings, policies.add)
        lifecycle.add_refusals(files.refused)
        lifecycle.add_check("workflows", files.problem)
        lifecycle.add_refusals(policies.refused)
        broker = Broker(
            settings.amqp_url.get_secret_value(),
            name="feedback",
            topology=topology(list(files.workflows), settings.retry_delays_seconds),
            rights=USERS["feedback"],
            refuse=files.refuse,
        )
        lifecycle.add_check("postgres", readiness(engine))
        lifecycle.add_check("rabbitmq", broker.problem)
        broker.start()

        def begin(workflow: Workflow) -> None:
            broker.add(topology([workflow.name], settings.retry_delays_seconds))
            policies.add(workflow)

        files.follow(begin, lifecycle.stopping)
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
