"""Probes our rights on RabbitMQ: whether we are held to them, and may take from a queue.

Each probe is a request that is refused in any case; what counts is why.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial

import pika
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from shared.errors import Overloaded
from shared.messaging.steps import PRECONDITION_FAILED, REFUSED, Procedure, Step, needs_prepare
from shared.service.metrics import RIGHTS_LOST

# Nobody may send with this routing key (shared/messaging/rights.py), and nobody in this name:
# RabbitMQ (3.10 to 4.3) looks at the right first, then at the name, and routes a message only after
# both (https://www.rabbitmq.com/docs/validated-user-id).
FORBIDDEN_KEY = "nobody.may.send.this"
_NOBODY = "nobody"
_QUEUE_IN_TEXT = re.compile(r"queue '([^']+)'")


def check_keys(exchanges: Sequence[str]) -> Procedure[None]:
    """Whether RabbitMQ holds this user to its routing keys on each of these exchanges. The message
    that it is tried with reaches no queue.

    Raises:
        Overloaded: it does not, or the exchange is missing.
    """
    for exchange in exchanges:
        refusal = yield partial(_send_forbidden, exchange)
        code = None if refusal is None else refusal.reply_code
        if refusal is not None and code not in (REFUSED, PRECONDITION_FAILED):
            raise Overloaded(needs_prepare(refusal))
        RIGHTS_LOST.labels(exchange).set(code != REFUSED)
        if code != REFUSED:
            raise Overloaded(
                f"RabbitMQ lets this user send anything to {exchange}: the rights to its"
                " routing keys are gone (was it deleted?); run `hitl prepare`"
            )


def try_taking(queue: str) -> Procedure[str | None]:
    """Why this user may not take from the queue; nothing is taken in any case.

    RabbitMQ looks at the right first, and only then at an argument that it can only refuse."""
    refusal = yield partial(_take_wrongly, queue)
    forbidden = refusal is not None and refusal.reply_code == REFUSED
    return str(refusal.reply_text) if refusal is not None and forbidden else None


def forbidden_queue(reason: BaseException) -> str | None:
    """The queue that this user may not use, where a channel ended for that."""
    if isinstance(reason, ChannelClosedByBroker) and reason.reply_code == REFUSED:
        found = _QUEUE_IN_TEXT.search(reason.reply_text)
        return found[1] if found is not None else None
    return None


def _take_wrongly(queue: str, channel: Channel) -> Iterator[Step]:
    wrong = {"x-priority": "no number"}
    yield partial(channel.basic_consume, queue, lambda *_: None, arguments=wrong)


def _send_forbidden(exchange: str, channel: Channel) -> Iterator[Step]:
    properties = pika.BasicProperties(user_id=_NOBODY)
    channel.basic_publish(exchange, FORBIDDEN_KEY, b"", properties)
    # Answered after it, should it ever be taken.
    yield partial(channel.exchange_declare, exchange, passive=True)
