"""How many messages wait in each queue: from the management API, else by AMQP."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypedDict

from hitl.support.management_api import get, vhost_in_path
from shared.errors import HitlError, Overloaded
from shared.messaging.lookups import count_ready
from shared.messaging.session import Session
from shared.messaging.steps import carry_out

TIMEOUT_SECONDS = 3.0
Depths = dict[str, "Depth"]


class Depth(TypedDict):
    """Messages that are ready, and unacknowledged ones; None where the broker does not tell."""

    ready: int
    unacked: int | None


def queue_depths(amqp_url: str, api_url: str | None, queues: Sequence[str]) -> Depths:
    """The depth of each queue; empty where the broker does not answer. The management API lists all
    queues of the pipeline, AMQP only those asked for."""
    if not amqp_url:
        return {}
    if api_url is None:
        return declared_depths(amqp_url, queues)
    # Asked of the queues themselves: the management page's own figures are deprecated since 4.3
    # (`management_metrics_collection`), may be turned off, and then every queue would look empty.
    totals = "disable_stats=true&enable_queue_totals=true"
    path = f"queues/{vhost_in_path(amqp_url)}?{totals}"
    try:
        listed = get(api_url, path, timeout_seconds=TIMEOUT_SECONDS)
    except (HitlError, ValueError):
        return {}
    return {
        queue["name"]: Depth(
            ready=queue.get("messages_ready", 0), unacked=queue.get("messages_unacknowledged")
        )
        for queue in listed
        if queue["name"].startswith("hitl.")
    }


def declared_depths(amqp_url: str, queues: Sequence[str]) -> Depths:
    """Ready messages by passive declaration, which does not count the unacknowledged ones."""
    depths: Depths = {}

    def collect(ready: Mapping[str, int]) -> None:
        depths.update({name: Depth(ready=count, unacked=None) for name, count in ready.items()})
        session.end()

    session = Session(
        "status", lambda on: carry_out(on.connection, count_ready(queues), collect, session.fail)
    )
    with suppress(Overloaded):
        session.run(amqp_url)
    return depths
