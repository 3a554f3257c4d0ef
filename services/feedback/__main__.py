"""The certifier: from which score on the machine may decide alone, and when no longer."""

import os
from datetime import timedelta

from services.feedback.service import Feedback, Policies
from shared.messaging.connection import Broker
from shared.messaging.rights import USERS
from shared.service.lifecycle import service, start
from shared.service.settings import Settings
from shared.storage.database import connect, readiness
from shared.topology import Topology
from shared.workflows.files import WorkflowFile
from shared.workflows.served import follow, served_workflows


def main() -> None:
    """Certifies every workflow that wants it, and tells the routers."""
    settings = Settings.from_environment(os.environ).require("amqp_url", "database_url")
    engine = connect(settings.database_url.get_secret_value(), application="hitl-feedback")
    with service("feedback", port=settings.feedback_port, settings=settings) as lifecycle:
        policies = Policies(settings.workflows_dir)
        files, drawn = served_workflows(settings, lifecycle, policies.take, policies.take)
        broker = Broker(
            settings.amqp_url.get_secret_value(),
            name="feedback",
            topology=drawn,
            rights=USERS["feedback"],
            refuse=files.refuse,
        )
        lifecycle.add_check("postgres", readiness(engine))
        lifecycle.add_check("rabbitmq", broker.problem)

        def begin(content: WorkflowFile, more: Topology) -> None:
            broker.add(more)
            policies.take(content)

        lease = timedelta(seconds=settings.certificate_lease_seconds)
        broker.start()
        follow(files, begin, settings, lifecycle)
        try:
            Feedback(engine, broker, policies, lease=lease).run(lifecycle.stopping)
        finally:
            broker.close()
            engine.dispose()


if __name__ == "__main__":
    start("feedback", main)
