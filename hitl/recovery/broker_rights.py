"""Gives back routing-key restrictions that RabbitMQ has lost.

RabbitMQ 4.3 keeps a user's routing keys with their exchange. A deleted exchange takes them along,
and the next one of its name has none: whoever may write to it may then send with every key there
is (https://www.rabbitmq.com/docs/access-control#topic-authorisation). Only the management API
knows, and tells administrators alone.
"""

from urllib.parse import unquote

from hitl.access.broker_users import topics
from hitl.recovery.definitions import get, import_definitions
from hitl.support.connection import vhost_in_path
from shared.messaging.rights import USERS


def give_back(api_url: str, amqp_url: str) -> list[str]:
    """Holds every user that has rights in this virtual host to its keys again; whom it concerned.
    What is there stays as it is: somebody may have narrowed it.

    Raises:
        HitlError: the API does not answer or refuses.
    """
    vhost = vhost_in_path(amqp_url)
    path = f"vhosts/{vhost}"
    users = {one["user"] for one in get(api_url, f"{path}/permissions")}
    held = {(one["user"], one["exchange"]) for one in get(api_url, f"{path}/topic-permissions")}
    lost = [
        {"user": user, "vhost": unquote(vhost), **topic}
        for user in USERS
        if user in users
        for topic in topics(user)
        if (user, topic["exchange"]) not in held
    ]
    if lost:
        import_definitions(api_url, {"topic_permissions": lost})
    return list(dict.fromkeys(one["user"] for one in lost))
