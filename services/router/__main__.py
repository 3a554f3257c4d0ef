"""The router: reads what the model is sure of and sends each item on, to its users or to people."""

import os

from services.router.handler import Router
from services.router.live_feed import LiveFeed
from services.router.policies import Policies
from services.router.policy import Policy
from shared.clock import utc_now
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import service, start
from shared.service.settings import Settings
from shared.topology import ROUTER_QUEUE, Topology
from shared.workflows.files import WorkflowFile
from shared.workflows.served import follow, served_workflows

# Until the certifier is heard, what needs a certificate goes to people: worth a little wait.
HEAR_SECONDS = 5.0
# Items of up to a megabyte: a thousand of them, and the events about them, would be 2 GB.
MAX_BYTES = 32 * 1_024 * 1_024


def main() -> None:
    """Routes the items of every workflow that has a valid policy."""
    settings = Settings.from_environment(os.environ).require("amqp_url")
    salt = settings.panel_salt.get_secret_value()
    with service("router", port=settings.router_port, settings=settings) as lifecycle:
        policies = Policies(settings.workflows_dir, salted=bool(salt))
        files, drawn = served_workflows(settings, lifecycle, policies.take, policies.take)
        live = LiveFeed(settings.amqp_url.get_secret_value())

        def policy(workflow: str) -> Policy | None:
            """None as well where what is decided could not get to its queues."""
            return policies.policy(workflow) if workflow in files.workflows else None

        router = Router(
            policy, salt=salt, clock=utc_now, live_of=live.route,
            has_file=files.has_file, workflows=files.workflows,
        )  # fmt: skip
        worker = Worker(
            service="router",
            settings=settings,
            topology=drawn,
            lifecycle=lifecycle,
            queues=[ROUTER_QUEUE],
            handler=router,
            prefetch=settings.prefetch,
            max_batch=None,
            max_bytes=MAX_BYTES,
            rights=USERS["router"],
            refuse=files.refuse,
        )

        def begin(content: WorkflowFile, more: Topology) -> None:
            policies.take(content)
            router.count(content.workflow.name)
            worker.add(more)

        with live.listening(wait_seconds=HEAR_SECONDS if policies.certifies() else 0.0):
            follow(files, begin, settings, lifecycle)
            worker.run()


if __name__ == "__main__":
    start("router", main)
