"""How many messages wait in each queue: asked of the management API, else of RabbitMQ itself."""

import base64
import http.client
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypedDict

from hitl.support.connection import trusted, vhost_in_path
from shared.errors import Overloaded

TIMEOUT_SECONDS = 3
Depths = dict[str, "Depth"]


class Depth(TypedDict):
    """Messages waiting, and messages with a consumer; None where the broker does not say."""

    ready: int
    unacked: int | None


def queue_depths(amqp_url: str, api_url: str | None, queues: Sequence[str]) -> Depths:
    """Ready and unacked messages of each queue: from the management API, else by asking AMQP."""
    if not amqp_url:
        return {}
    if api_url is None:
        return declared_depths(amqp_url, queues)
    api = urllib.parse.urlsplit(api_url)
    vhost = vhost_in_path(amqp_url)
    host = api.hostname or "localhost"
    client = http.client.HTTPConnection(host, api.port or 15672, timeout=TIMEOUT_SECONDS)
    if api.scheme == "https":
        try:
            trust = trusted(api_url)
        except OSError:
            return {}
        client = http.client.HTTPSConnection(
            host, api.port or 15671, timeout=TIMEOUT_SECONDS, context=trust
        )
    names = map(urllib.parse.unquote, (api.username or "guest", api.password or "guest"))
    token = base64.b64encode(":".join(names).encode()).decode()
    # Asked of the queues themselves: the management page's own figures are deprecated since 4.3
    # (`management_metrics_collection`), may be turned off, and then every queue would look empty.
    totals = "disable_stats=true&enable_queue_totals=true"
    try:
        client.request(
            "GET",
            f"{api.path.rstrip('/')}/queues/{vhost}?{totals}",
            headers={"Authorization": f"Basic {token}"},
        )
        answer = client.getresponse()
        listed = json.load(answer) if answer.status == http.client.OK else []
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        client.close()
    return {
        queue["name"]: Depth(
            ready=queue.get("messages_ready", 0), unacked=queue.get("messages_unacknowledged")
        )
        for queue in listed
        if queue["name"].startswith("hitl.")
    }


def declared_depths(amqp_url: str, queues: Sequence[str]) -> Depths:
    """Ready messages by passive declaration, which tells nothing of the unacked ones."""
    # pika is slow to import, and needed only where there is no management API.
    from shared.messaging.lookups import count_ready
    from shared.messaging.session import Session
    from shared.messaging.steps import carry_out

    depths: Depths = {}

    def told(ready: Mapping[str, int]) -> None:
        depths.update({name: Depth(ready=count, unacked=None) for name, count in ready.items()})
        session.end()

    session = Session(
        "status", lambda on: carry_out(on.connection, count_ready(queues), told, session.fail)
    )
    with suppress(Overloaded):
        session.run(amqp_url)
    return depths
