"""Restores routing-key restrictions that RabbitMQ has lost.

RabbitMQ 4.3 keeps a user's routing keys with their exchange. A deleted exchange takes them along,
and the next one of its name has none: whoever may write to it may then send with any key
(https://www.rabbitmq.com/docs/access-control#topic-authorisation). Only the management API shows
them, and only to administrators.
"""

from urllib.parse import unquote

from hitl.access.broker_users import topics
from hitl.support.management_api import get, import_definitions, vhost_in_path
from shared.messaging.rights import USERS


def give_back(api_url: str, amqp_url: str) -> list[str]:
    """Restricts every user of this virtual host to its routing keys again; returns the users that
    had lost them. Existing restrictions stay: an operator may have narrowed them.

    Raises:
        HitlError: the API does not answer, or refuses.
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
