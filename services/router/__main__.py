"""The router: reads what the model is sure of and sends each item on, to its users or to people."""

import os
import sys
import threading

from services.router.handler import Router
from services.router.live_feed import LiveFeed
from services.router.policy import Policy
from services.router.policy_feed import PolicyFeed
from shared.clock import utc_now
from shared.errors import ConfigurationError
from shared.messaging.rights import USERS
from shared.messaging.worker import Worker
from shared.service.lifecycle import service
from shared.service.settings import Settings
from shared.topology import ROUTER_QUEUE, topology
from shared.workflows.feed import WorkflowFeed
from shared.workflows.files import Workflow

# Until the certifier is heard, what needs a certificate goes to people: worth a little wait.
HEAR_SECONDS = 5.0
# Items of up to a megabyte: a thousand of them, and the events about them, would be 2 GB.
MOST_BYTES = 32 * 1_024 * 1_024


def main() -> None:
    settings = Settings.from_environment(os.environ).require("amqp_url")
    salt = settings.panel_salt.get_secret_value()
    with service("router", port=settings.router_port, settings=settings) as lifecycle:
        feed = PolicyFeed(settings.workflows_dir, {}, salted=bool(salt))
        files = WorkflowFeed(settings, feed.add)
        live = LiveFeed(settings.amqp_url.get_secret_value())
        lifecycle.add_refusals(files.refused)
        lifecycle.add_check("workflows", files.problem)
        lifecycle.add_refusals(feed.refused)
        threading.Thread(
            target=feed.watch, args=(lifecycle.stopping,), name="policies", daemon=True
        ).start()
        listener = threading.Thread(target=live.watch, name="live-policy", daemon=True)
        listener.start()
        if feed.certifies():
            live.wait_heard(HEAR_SECONDS)

        def policy(workflow: str) -> Policy | None:
            """None as well where what is decided could not get to its queues."""
            return feed.policy(workflow) if workflow in files.workflows else None

        router = Router(
            policy, salt=salt, clock=utc_now, live_of=live.route,
            has_file=files.has_file, workflows=files.workflows,
        )  # fmt: skip
        worker = Worker(
            service="router",
            settings=settings,
            topology=topology(list(files.workflows), settings.retry_delays_seconds),
            lifecycle=lifecycle,
            queues=[ROUTER_QUEUE],
            handler=router,
            prefetch=settings.prefetch,
            max_batch=None,
            most_bytes=MOST_BYTES,
            rights=USERS["router"],
            refuse=files.refuse,
        )

        def begin(workflow: Workflow) -> None:
            feed.add(workflow)
            router.count(workflow.name)
            worker.add(topology([workflow.name], settings.retry_delays_seconds))

        files.follow(begin, lifecycle.stopping)
        worker.run()
        live.stop()
        listener.join(HEAR_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        sys.exit(f"router: {error}")
